"""For owners: look at a policy, and try it on queries before it is in force."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import indent
from typing import Annotated

from cyclopts import App, Parameter
from rich.text import Text

from mpc.errors import LocalError
from mpc.policy.flow import check, suggest
from mpc.policy.grants import Policy, parse_policy
from mpc.policy.review import ALLOWED, Case, differences, read_case
from parties import files
from parties.cli.output import As, Consortium, out, plain, said
from parties.cli.question import NO_OPTIONS, Question, client, parameters, sql_text
from parties.clock import now
from parties.modeler.client import Client
from parties.node.unknown_names import Known
from parties.proposals import request_of

Draft = Annotated[
    Path | None, Parameter(name="--policy", help="a policy that is not in force yet; else the member's policy.toml")
]
Place = Annotated[Path, Parameter(help="a policy.toml, or the member's folder it lies in")]


def register(app: App) -> App:
    """Add these commands to ``heji``; returns the group ``heji policy``."""
    group = App(name="policy", help="An owner's policy: check it, try it on queries, compare two, draft grants.")
    group.command(policy_check, name="check")
    group.command(policy_explain, name="explain")
    group.command(policy_test, name="test")
    group.command(policy_diff, name="diff")
    group.command(policy_suggest, name="suggest")
    app.command(group)
    return group


def policy_check(place: Place, /) -> None:
    """Read a policy as a node does: every mistake with its line, what each grant says, and the digest. Of a member's
    folder also names that no member and no published table has.

    Example: heji policy check demo/tax
    """
    policy, today = read(place), dt.datetime.fromtimestamp(now(), dt.UTC).date()
    for g in policy.grants:
        if g.budget is not None:  # noise takes the place of limits that look at exact counts
            limits = [f"with noise, a privacy loss of {g.budget.epsilon:f} in {g.budget.days} days"]
        else:
            limits = [f"at least {g.min_entities} entities a cell"] if g.min_entities else []
            limits += [f"no entity above {g.max_share} of a sum"] if g.max_share is not None else []
            limits += [f"{g.max_numbers} numbers over one population"] if g.max_numbers is not None else []
            limits += [f"sums rounded to {g.round_to}"] if g.round_to is not None else []
        limits += [f"{g.min_contributors} institutions"] if g.min_contributors > 1 else []
        limits += [f"until {g.expires}"] if g.expires else []
        over = g.expires is not None and g.expires < today
        told = (
            f"line {g.line}: {g.table} ({', '.join(g.columns) or 'no column'}) to {', '.join(g.to) or 'nobody'}: "
            f"{', '.join(g.uses) or 'nothing'}"
        )
        said(told + (f"; {'; '.join(limits)}" if limits else ""))
        if not (g.columns and g.to and g.uses):
            plain("  grants nothing: something is empty")
        elif over:
            plain("  grants nothing any more: that day has passed")
        elif g.persons:
            plain(f"  each job waits for {'a person' if g.persons == 1 else 'two persons'} (heji jobs pending)")
    if place.is_dir():
        for grant, what in Known.of(place).unknown_in(policy):
            said(f"line {grant.line} names {what}: it does nothing now")
    plain(f"{len(policy.grants)} grant(s). Digest {policy.digest}")


def policy_explain(
    sql: str | None = None,
    /,
    *,
    question: Question = NO_OPTIONS,
    policy: Draft = None,
    consortium: Consortium = None,
    as_: As = None,
) -> None:
    """What this owner's policy says to a query, before anybody asks it. Status 1 where it is refused.

    Rules that need a memory (max_bits, budget, sets of contributors) are judged when a job comes.
    Example: heji policy explain "SELECT SUM(tax_paid) FROM tax.firms" --to analyst --as tax --consortium demo
    """
    text, q = sql_text(sql, question.file), question
    with client(consortium, as_) as heji:
        judged, to = read(policy or heji.member.folder), q.to or (heji.name,)
        asked = Case(text, to, q.purpose, q.trust, q.allow_two_party, ALLOWED, q.epsilon, q.entity_rows)
        verdict, told = _judged(heji, judged, asked, parameters(q.param))
    plain(f"{heji.name}: {verdict}" + (f"\n{told}" if told else ""))
    if verdict != ALLOWED:
        sys.exit(1)


def policy_test(
    queries: Annotated[Path, Parameter(help="a folder of .sql files that say to whom, and what to expect")],
    /,
    *,
    policy: Draft = None,
    consortium: Consortium = None,
    as_: As = None,
) -> None:
    """Try a policy on a folder of example queries. Status 1 if one has another verdict than it should.

    Each file begins with comments: -- to: analyst, -- purpose: ..., -- expect: allowed (or policy.refused, refused);
    -- epsilon: 0.5 for numbers with noise.
    Example: heji policy test queries --policy draft.toml --as tax --consortium demo
    """
    if not queries.is_dir():
        raise LocalError("config.missing", f"{queries} is no folder.", "Name the folder of the .sql files.")
    found = sorted(queries.glob("*.sql"))
    if not found:
        raise LocalError("config.missing", f"{queries} has no .sql files.", "Write one query a file.")
    wrong = 0
    with client(consortium, as_) as heji:
        judged = read(policy or heji.member.folder)
        for file in found:
            case = read_case(file.name, sql_text(None, file))
            verdict, _ = _judged(heji, judged, case, {})
            met = case.met_by(verdict)
            wrong += not met
            mark = Text("ok  ", style="green") if met else Text("BAD ", style="bold red")
            told = "" if met else f", where {case.expect} was expected"
            out.print(Text.assemble(mark, f"{file.name}: {verdict}{told}"))
    plain(f"{len(found) - wrong} of {len(found)} as expected.")
    if wrong:
        sys.exit(1)


def policy_diff(old: Place, new: Place, /) -> None:
    """Compare two policies grant by grant, whatever their order, comments and writing. Status 1 if they differ."""
    lines = list(differences(read(old), read(new)))
    for line in lines:
        plain(line)
    plain("The same grants." if not lines else "Lines with - are no longer granted, lines with + are new.")
    if lines:
        sys.exit(1)


def policy_suggest(
    sql: str | None = None,
    /,
    *,
    question: Question = NO_OPTIONS,
    consortium: Consortium = None,
    as_: As = None,
) -> None:
    """Draft the smallest grants under which a query would pass, owner by owner, to send to them. Status 1 where grants
    are not enough, and the query has to be asked otherwise; what is wrong stands below them.

    Example: heji policy suggest "SELECT SUM(tax_paid) FROM tax.firms" --to analyst --purpose research --consortium demo
    """
    text, q = sql_text(sql, question.file), question
    with client(consortium, as_, q.to) as heji:
        to = q.to or (heji.name,)
        plan = heji.plan(text, to, q.trust, parameters(q.param), epsilon=q.epsilon, entity_rows=q.entity_rows)
        request = request_of(heji.member, plan, to, q.purpose, q.allow_two_party)
    refused = 0
    for party in plan.parties:
        drafted = suggest(plan, party, request).strip()
        plain(f"# {party}: policy.toml\n{drafted or '# needs no grant'}\n")
        try:
            check(plan, party, parse_policy(drafted), request)
        except LocalError as error:  # for what no grant can give: it takes another job
            refused += 1
            short = f"{error.message}\n{error.advice}".partition("\n\n[[grant]]")[0]
            plain(indent(f"With these grants it is refused all the same. {short}", "# ", lambda _line: True) + "\n")
    if refused:
        sys.exit(1)


def read(place: Path) -> Policy:
    """A policy.toml, or that of a member's folder. Raises LocalError config.missing, policy.*."""
    path = place / "policy.toml" if place.is_dir() else place
    try:
        return parse_policy(files.read(path, "the policy").decode())
    except LocalError as mistake:  # in a file that may be called otherwise
        if mistake.code == "config.missing":
            advice = "Name an owner's folder or a policy.toml, or use --as with a party: others have no policy."
            raise LocalError(mistake.code, mistake.message, advice) from None
        told = mistake.message.replace("policy.toml", str(path), 1)
        raise LocalError(mistake.code, told, mistake.advice, **mistake.facts) from None
    except UnicodeDecodeError as problem:
        raise LocalError("policy.invalid", f"{path} is no UTF-8 text.", "Save it as UTF-8.") from problem


def _judged(heji: Client, policy: Policy, asked: Case, values: Mapping[str, str]) -> tuple[str, str]:
    """The verdict, and what is said besides. A query that does not compile is refused for that."""
    try:
        plan = heji.plan(asked.sql, asked.to, asked.trust, values, epsilon=asked.epsilon, entity_rows=asked.entity_rows)
        if heji.name in plan.parties:
            request = request_of(heji.member, plan, asked.to, asked.purpose, asked.allow_two_party)
            limits = check(plan, heji.name, policy, request)
            if limits.noised:
                return ALLOWED, "With noise, from a budget."
            return ALLOWED, f"At least {limits.min_entities} entities behind every cell." if limits.min_entities else ""
    except LocalError as refused:
        return refused.code, str(refused)
    raise LocalError(
        "config.invalid",
        f"The query reads nothing of {heji.name}: its policy has nothing to say.",
        f"Use --as with one of {', '.join(plan.parties)}.",
    )
