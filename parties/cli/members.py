"""For operators: consortium, roster, node, coordinator, up."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table
from rich.text import Text

from mpc.errors import LocalError
from parties import consortium as practice
from parties import roster as rosters
from parties.cli.output import err, limits, out, plain
from parties.clock import now
from parties.processes import Processes, end_on_signals

Many = Parameter(negative="")
Folder = Annotated[Path, Parameter(help="the member's own folder")]
WithParent = Annotated[int | None, Parameter(show=False)]


def register(app: App) -> App:
    """Add these commands to ``heji``; returns the group ``heji node``."""
    group = App(name="consortium", help="A practice consortium: all members' folders on this machine.")
    group.command(consortium_init, name="init")
    app.command(group)

    node = App(name="node", help="A party's node: its keys, tables, policy, and serving them.")
    node.command(node_init, name="init")
    node.command(node_serve, name="serve")
    node.command(node_check, name="check")
    table = App(name="table", help="The tables a node publishes.")
    table.command(table_add, name="add")
    node.command(table)
    app.command(node)

    coordinator = App(name="coordinator", help="The coordinator: schedules jobs and adds masked words.")
    coordinator.command(coordinator_serve, name="serve")
    app.command(coordinator)

    helper = App(name="helper", help="The helper of joins: deals random numbers, matches keyed tags, sees no value.")
    helper.command(helper_serve, name="serve")
    app.command(helper)

    witness = App(name="witness", help="A witness outside the jobs, such as a regulator's: it cosigns members' logs.")
    witness.command(witness_serve, name="serve")
    app.command(witness)

    roster = App(name="roster", help="The list of members with their pinned keys, signed by all of them.")
    for command in (roster_add, roster_sign, roster_install, roster_show, roster_revoke):
        roster.command(command, name=command.__name__.removeprefix("roster_"))
    app.command(roster)
    app.command(up)
    return node


def consortium_init(
    folder: Path,
    /,
    *,
    party: Annotated[tuple[str, ...], Parameter(negative="", help="a data holder's name (may repeat)")],
    modeler: Annotated[tuple[str, ...], Parameter(negative="", help="a modeler without data (may repeat)")] = (),
    coordinator: str = "coordinator",
    auditor: Annotated[tuple[str, ...], Parameter(negative="", help="an auditor's name (may repeat)")] = (),
    witness: Annotated[str, Parameter(help="a member that cosigns the others' logs and does nothing else")] = "",
    organisation: Annotated[tuple[str, ...], Parameter(negative="", help="NAME=ORGANISATION (may repeat)")] = (),
) -> None:
    """Make a practice consortium: keys, certificates, a roster signed by all, a folder for each member.

    For practice only: real members make their keys on their own premises (heji node init).
    Example: heji consortium init demo --party tax --party bank_a --party bank_b --modeler analyst
    """
    organisations = dict(pair(o) for o in organisation)
    practice.init_consortium(
        folder,
        parties=list(party),
        modelers=list(modeler),
        coordinator=coordinator,
        witness=witness,
        auditors=list(auditor),
        organisations=organisations,
    )
    plain(
        f"{folder}: {', '.join([*party, *modeler, *auditor, coordinator, 'helper', *([witness] if witness else [])])}"
    )
    plain(f"Next: heji node table add {folder}/{party[0]} FILE --key COLUMN --grant aggregate; heji up {folder}")


def node_init(
    folder: Path,
    /,
    *,
    name: str,
    address: str,
    organisation: str = "",
    role: Annotated[
        tuple[str, ...], Parameter(negative="", help="party, coordinator, helper, modeler, auditor or witness")
    ] = ("party",),
) -> None:
    """Make a member's keys on its own premises, and a public card to hand to the others.

    Example: heji node init /etc/heji/tax --name tax --address node.tax.example:7443
    """
    card = practice.init_member(folder, name, address, organisation or name, list(role))
    plain(f"Keys are in {folder}/keys and leave it never. Hand over {card}.")


def node_serve(folder: Folder, /, *, with_parent: WithParent = None) -> None:
    """Serve a party's node until Ctrl-C or SIGTERM. Logs are JSON lines on stderr, without values."""
    from parties import serve  # the server's imports are not for every command

    serve.run(folder, serve.serve_node, parent=with_parent)


def coordinator_serve(
    folder: Folder,
    /,
    *,
    helper: Annotated[Path | None, Parameter(help="the folder of a helper to serve from this process too")] = None,
    with_parent: WithParent = None,
) -> None:
    """Serve a coordinator until Ctrl-C or SIGTERM. Unfinished jobs go on with a new attempt."""
    from parties import serve

    also = [(serve.serve_node, helper)] if helper else []
    serve.run(folder, serve.serve_coordinator, also=also, parent=with_parent)


def helper_serve(folder: Folder, /, *, with_parent: WithParent = None) -> None:
    """Serve a helper until Ctrl-C or SIGTERM: a member with keys of its own and no tables. Joins need one.

    It may run anywhere but at an institution that takes part in the joins.
    """
    from parties import serve

    serve.run(folder, serve.serve_node, parent=with_parent)


def witness_serve(folder: Folder, /, *, with_parent: WithParent = None) -> None:
    """Serve a witness until Ctrl-C or SIGTERM: it cosigns checkpoints that continue what it cosigned before.

    It has a place in the roster, no part in any job, and remembers one size and root for every member. Nothing else.
    """
    from parties import serve

    serve.run(folder, serve.serve_witness, parent=with_parent)


def node_check(folder: Folder, /) -> None:
    """Look at keys, roster, certificates, tables against catalog, policy, clock and disk. Status 1 if one is bad."""
    from parties.node.check import check_member

    findings = check_member(folder, now())
    for f in findings:
        mark = Text("ok  ", style="green") if f.ok else Text("BAD ", style="bold red")
        out.print(Text.assemble(mark, f.what))
        if not f.ok and f.advice:
            out.print(Text("    " + f.advice))
    if not all(f.ok for f in findings):
        sys.exit(1)


def table_add(
    folder: Folder,
    location: str,
    /,
    *,
    table: Annotated[str | None, Parameter(help="the table inside a database")] = None,
    sql: Annotated[str | None, Parameter(help="a SELECT over the source instead of a whole table")] = None,
    name: Annotated[str | None, Parameter(help="name to publish; else the file's or table's")] = None,
    key: Annotated[tuple[str, ...], Parameter(negative="", help="column that marks one entity (may repeat)")] = (),
    type: Annotated[
        tuple[str, ...], Parameter(negative="", help="COLUMN=TYPE: INTEGER, DECIMAL(12,2), DATE, BOOLEAN, TEXT")
    ] = (),
    domain: Annotated[tuple[str, ...], Parameter(negative="", help="COLUMN=v1,v2,…: all values it can have")] = (),
    bounds: Annotated[tuple[str, ...], Parameter(negative="", help="COLUMN=LOW:HIGH, inclusive")] = (),
    grant: Annotated[
        tuple[str, ...],
        Parameter(negative="", help="a use to grant to all: aggregate, group, filter, arithmetic, join, product"),
    ] = (),
    min_entities: Annotated[int | None, Parameter(help="with --grant: entities behind a cell (default 10)")] = None,
    min_contributors: Annotated[
        int | None, Parameter(help="with --grant: institutions behind a pooled cell (default 2)")
    ] = None,
    encoding: Annotated[str | None, Parameter(help="of a CSV file: utf-8 or gb18030")] = None,
    description: str = "",
    replace: Annotated[bool, Parameter(negative="", help="publish anew under a name that is taken")] = False,
) -> None:
    """Publish a table: infer types, scale, bounds and domains, write the catalog entry, say what to review.

    LOCATION is a .csv, .parquet or .duckdb file, sqlite:FILE or postgresql://…. Nothing is granted without --grant.
    Example: heji node table add demo/tax firms.csv --key uscc --grant aggregate --grant group
    """
    from parties.node.tables import add_table

    uses = tuple(u.strip() for g in grant for u in g.split(",") if u.strip())
    proposal = add_table(
        folder,
        location,
        name=name,
        table=table,
        sql=sql,
        keys=key,
        types=dict(pair(t) for t in type),
        domains=dict(pair(d) for d in domain),
        bounds=dict(pair(b) for b in bounds),
        grants=uses,
        min_entities=min_entities,
        min_contributors=min_contributors,
        encoding=encoding,
        description=description,
        replace=replace,
    )
    shown = Table(
        "column",
        "type",
        "bounds or domain",
        "key",
        header_style="bold",
        title=proposal.table.name,
        title_justify="left",
    )
    for c in proposal.table.columns:
        shown.add_row(Text(c.name), c.type_name, Text(limits(c)), "key" if c.key else "")
    out.print(shown)
    for line in proposal.review:
        out.print(Text(f"review: {line}"))
    plain(f"Published in {folder}/catalog.json; edit it there. Grants: {', '.join(uses) or 'none yet (policy.toml)'}.")


def roster_add(roster: Path, card: Path, /) -> None:
    """Put a member's public card on the roster: a new version, which every member has to sign again."""
    made = rosters.add_card(roster, card)
    plain(f"Version {made.version}; every member signs it with `heji roster sign {roster} --as DIR`.")


def roster_sign(roster: Path, /, *, as_: Annotated[Path, Parameter(name="--as", help="your member folder")]) -> None:
    """Sign the roster as one of its members."""
    made = rosters.sign_roster(roster, as_)
    left = made.unsigned_by()
    plain("All have signed." if not left else f"Still to sign: {', '.join(left)}.")


def roster_install(roster: Path, /, *, as_: Annotated[Path, Parameter(name="--as", help="your member folder")]) -> None:
    """Take a roster that all have signed as your own copy; in force at your node's next start. Never an older one."""
    made = rosters.install_roster(roster, as_, now())
    plain(f"{as_} holds version {made.version}, {made.digest()}.")


def roster_show(roster: Path, /) -> None:
    """Show a roster: members, roles, organisations, addresses, key fingerprints, who has signed."""
    read = rosters.Roster.load(roster)
    table = Table(
        "member",
        "organisation",
        "roles",
        "address",
        "identity",
        "signed",
        header_style="bold",
        title=f"{read.consortium}, version {read.version}, {read.digest()}",
        title_justify="left",
    )
    left = set(read.unsigned_by())
    for m in read.members:
        state = "revoked" if m.revoked else "no" if m.name in left else "yes"
        table.add_row(m.name, m.organisation, ", ".join(m.roles), m.address, m.identity[:16], state)
    out.print(table)


def roster_revoke(roster: Path, name: str, /) -> None:
    """Revoke a member: a new version, which every remaining member has to sign."""
    made = rosters.revoke(roster, name)
    plain(f"Version {made.version}; the remaining members sign it with `heji roster sign`.")


def up(folder: Path, /) -> None:
    """Serve all members of a practice consortium as processes of this machine, until Ctrl-C.

    Example: heji up demo
    """
    end_on_signals()
    with Processes(folder, tell=lambda line: err.print(Text(line, style="dim"))) as processes:
        try:
            plain(f"All {len(processes.running)} members are serving. Ctrl-C stops them. Logs: {folder}/*/log.jsonl")
            ended = processes.wait()
        except KeyboardInterrupt:
            err.print("Stopping …")
            return
    raise LocalError("peer.unavailable", f"{ended.name} ended by itself.", f"Its log is {ended.log}.")


def pair(text: str) -> tuple[str, str]:
    """``NAME=VALUE``."""
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise LocalError("config.invalid", f"{text!r} should read NAME=VALUE.")
    return name, value
