"""For an owner's persons, on the node's machine: what waits for them, their word, and stopping the node.

Whoever may write the member's folder is trusted with all of it, and with the name given by ``--by``.
"""

from __future__ import annotations

import datetime as dt
import getpass
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import indent
from typing import Annotated

from cyclopts import App, Parameter

from mpc.errors import HejiError, LocalError
from parties.cli.output import As, Consortium, plain, said
from parties.clock import now as clock
from parties.config import load_config, locate
from parties.job_ids import SHOWN_DIGITS, whole_id
from parties.node.decisions import Decision, Word
from parties.node.earlier import MOST, Release
from parties.node.permission import read_policy
from parties.node.standing import named, read_standing, state_of
from parties.node.store import Store
from parties.node.unknown_names import Known
from parties.results import json_text
from parties.roster import Roster

By = Annotated[str | None, Parameter(name="--by", help="who decides; stands in the signed approval")]
Folder = Annotated[Path, Parameter(help="the member's own folder")]

#: characters of a reason; it goes with a rejection to whoever asked
LONGEST_REASON = 500


def register(jobs: App, node: App, policy: App) -> None:
    """Add these commands to ``heji jobs``, ``heji node`` and ``heji policy``."""
    for command in (jobs_pending, jobs_approve, jobs_reject):
        jobs.command(command, name=command.__name__.removeprefix("jobs_"))
    node.command(node_stop, name="stop")
    node.command(node_resume, name="resume")
    node.command(node_console_token, name="console-token")
    node.command(node_forget_questions, name="forget-questions")
    policy.command(policy_standing, name="standing")


def jobs_pending(
    job: str | None = None, /, *, consortium: Consortium = None, as_: As = None, json: bool = False
) -> None:
    """What waits for a person at this owner: its grants say approval = "manual" or "two". With a job: all about it,
    also if it was decided before or is over.

    Example: heji jobs pending --as tax --consortium demo
    """
    with _store(consortium, as_) as store:
        found = store.decisions.waiting(clock()) if job is None else [_one(store.decisions.all(), job)]
        related = {d.job: store.earlier.related(d.job, d.recipients) for d in found}
    if json:
        plain(json_text([{**d.to_dict(), "related": [r.to_dict() for r in related[d.job]]} for d in found]))
        return
    for d in found:
        said(f"{d.job[:SHOWN_DIGITS]}  {d.submitter} -> {', '.join(d.recipients)}  {d.purpose or 'no purpose'}")
        # in full the lines stay as they are: what "--" makes a comment of ends with its line
        said(f"  {' '.join(d.sql.split())}" if job is None else indent(d.sql, "  "))
        for line in _words(d):
            said(f"  {line}")
        if job is not None:
            said(f"\n{d.told}\n\nReleased here before")
            for line in _earlier(related[d.job]):
                said(f"  {line}")
    if not found:
        said("Nothing waits.")


def jobs_approve(
    job: str, /, *, by: By = None, reason: str = "", consortium: Consortium = None, as_: As = None
) -> None:
    """Say yes to a job that waits here: exactly this job and plan, under the policy as it stands. Where the grants ask
    for two persons, it runs after the second.

    Example: heji jobs approve 3f2a91c0 --by "Li Na" --as tax --consortium demo
    """
    _decide(job, _word(by, reason), consortium, as_)


def jobs_reject(job: str, /, *, reason: str, by: By = None, consortium: Consortium = None, as_: As = None) -> None:
    """Refuse a job that waits for a person here, or take an approval back before it ran; whoever asked is told why.

    Example: heji jobs reject 3f2a91c0 --reason "not before the audit" --as tax --consortium demo
    """
    if not reason.strip():
        raise LocalError(
            "config.invalid", "A rejection needs a reason.", "Whoever asked is told: say it with --reason."
        )
    _decide(job, _word(by, reason, approves=False), consortium, as_)


def node_stop(
    folder: Folder,
    /,
    *,
    now: Annotated[bool, Parameter(negative="", help="end running jobs too, at once")] = False,
    by: By = None,
    reason: Annotated[str, Parameter(help="stays here, but for what is withdrawn: whoever asked is told")] = "",
) -> None:
    """Let no job run here any more, also after a restart, until `heji node resume`. What waits for a decision, and what
    was approved and has not run, is withdrawn.

    Works beside the running node, which does it within a second, and while it is down.
    Example: heji node stop demo/tax --now --by "Li Na"
    """
    with _open(folder) as store:
        found = store.decisions.stop(_word(by, reason), now=now)
    name = load_config(folder).name
    plain(f"{name} approves nothing from now on{', and running jobs end' if found.now else '; running jobs go on'}.")
    plain(f"Next: heji node resume {folder}")


def node_resume(folder: Folder, /, *, by: By = None) -> None:
    """Let jobs run again under policy.toml as it stands. What was withdrawn stays withdrawn."""
    with _open(folder) as store:
        store.decisions.resume(_word(by, ""))
    plain(f"{load_config(folder).name} takes jobs again.")


def node_forget_questions(
    folder: Folder,
    /,
    *,
    question: Annotated[str, Parameter(help="only the one whose digest begins so, as an error says it; else all")] = "",
    yes: Annotated[bool, Parameter(negative="", help="do not ask")] = False,
    by: By = None,
    reason: Annotated[str, Parameter(help="stays here")] = "",
) -> None:
    """Let joins no longer be compared with what was asked before, where a member has lost it for good (policy.earlier):
    a difference of few entities to those earlier results is let out then.

    Works beside the running node, and while it is down; the evidence log says who decided it. Other owners that name
    the question have to forget it too.
    Example: heji node forget-questions demo/tax --question 3f2a91c0 --by "Li Na"
    """
    with _open(folder) as store:
        found = store.questions.named(question.lower())
        if not found:
            raise LocalError("job.unknown", "No earlier question here has such a digest, or none is named any more.")
        for name, asked in list(found.items())[:MOST]:
            told = f"-> {', '.join(asked.recipients)}  {' '.join(asked.sql.split())}" if asked else "lost here too"
            said(f"{name[:SHOWN_DIGITS]}  {told}")
        if len(found) > MOST:
            said(f"and {len(found) - MOST} more")
        what = (
            f"Joins are no longer compared with {'these' if len(found) > 1 else 'this'}: who asks for the same of all "
        )
        said(f"{what}but a few firms learns what those few add, from the two results.")
        if not yes and not _confirmed("Forget?"):
            plain("Nothing was changed.")
            return
        store.questions.forget(found, _word(by, reason))
    plain(f"{load_config(folder).name} names {len(found)} earlier question(s) no more.")


def node_console_token(
    folder: Folder,
    /,
    *,
    for_: Annotated[str, Parameter(name="--for", help="the person's name, as it stands beside decisions")],
    revoke: Annotated[bool, Parameter(negative="", help="take the person's token back; sessions end")] = False,
) -> None:
    """Make a person's token for the console, shown once; an earlier one of that person is no longer good.

    Hand it to that person and nobody else: two names on an approval are two persons because two hold a token.
    Example: heji node console-token demo/tax --for "Li Na"
    """
    from parties.console import tokens

    _verify_decides(folder)
    Word(for_, 0, "", "console")  # a name that can stand beside a decision
    if revoke:
        tokens.revoke(folder, for_)
        plain(f"{for_} has no token any more.")
    else:
        plain(tokens.issue(folder, for_))


def policy_standing(
    name: str | None = None,
    /,
    *,
    approve: Annotated[bool, Parameter(negative="", help="put it in force, as one of the persons it takes")] = False,
    withdraw: Annotated[bool, Parameter(negative="", help="nobody's approval of it counts any more")] = False,
    by: By = None,
    reason: str = "",
    consortium: Consortium = None,
    as_: As = None,
    json: bool = False,
) -> None:
    """The standing approvals of standing.toml: what each allows, who put it in force, how often it was used.

    Example: heji policy standing monthly --approve --by "Li Na" --as tax --consortium demo
    """
    folder = locate(consortium, as_, (), os.environ)
    found = read_standing(folder) if name is None else (named(folder, name),)
    if (approve or withdraw) and (name is None or approve == withdraw):
        raise LocalError("config.invalid", "Name one standing approval, and --approve or --withdraw.")
    policy, known = read_policy(folder), Known.of(folder)
    with _open(folder) as store:
        if approve:
            store.standing.approve(found[0], policy.digest, _word(by, reason))
        if withdraw:
            store.standing.withdraw(found[0])
        told = [state_of(s, store.standing, policy.digest, clock()) for s in found]
    if json:
        plain(json_text([s.to_dict() for s in told]))
        return
    for s in told:
        said(f"{s.what.name}  -> {', '.join(s.what.recipients)}  {s.what.purpose}  [{s.digest[:SHOWN_DIGITS]}]")
        said(f"  {' '.join(s.what.sql.split())}")
        for parameter, values in s.what.parameters.items():
            said(f"  ${parameter}: {', '.join(values[:MOST])}" + (f" … ({len(values)})" if len(values) > MOST else ""))
        for line in s.what.conditions:
            said(f"  {line}")
        said(f"  {s.used} of {s.what.runs} used ({s.what.per}); until {s.what.expires}")
        for w in s.words:
            said(f"  approved by {w.person}, {_when(w.at)}" + (f": {w.reason}" if w.reason else ""))
        if nobody := known.strangers(s.what):
            said(f"  no job runs by it: no member is called {', '.join(nobody)}")
        if not s.words:
            said("  not in force: nobody has approved it under the policy as it stands")
    if not told:
        said("There are none (standing.toml).")


def _decide(job: str, word: Word, consortium: Path | None, as_: str | None) -> None:
    with _store(consortium, as_) as store:
        found = _one([d for d in store.decisions.all() if d.expires > word.at], job)
        done = store.decisions.decide(found.job, word)
    if done.missing:
        plain(f"{found.job[:SHOWN_DIGITS]} approved by {word.person}; another person has to approve it too.")
    else:
        plain(f"{found.job[:SHOWN_DIGITS]} {done.state}.")
    if word.approves and not _in_force(done, locate(consortium, as_, (), os.environ)):
        plain(
            "policy.toml has changed since the question: it is asked again in a few seconds, and this approval is void."
        )


def _confirmed(question: str) -> bool:
    """A person's yes. Raises LocalError config.invalid where there is nobody to ask."""
    if not sys.stdin.isatty():
        raise LocalError("config.invalid", "Nobody is there to be asked.", "Say --yes if it is meant.")
    said(f"{question} [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _in_force(d: Decision, folder: Path) -> bool:
    """Whether the policy that a question was about still is."""
    try:
        return read_policy(folder).digest == d.policy
    except HejiError:
        return False


def _word(by: str | None, reason: str, *, approves: bool = True) -> Word:
    if not reason.isprintable() or len(reason) > LONGEST_REASON:
        raise LocalError(
            "config.invalid",
            f"A reason is one line of at most {LONGEST_REASON} printable characters.",
            "Say it shorter, and leave out what does not print.",
        )
    return Word(getpass.getuser() if by is None else by, clock(), reason, "command", approves)


def _earlier(found: Sequence[Release]) -> Iterator[str]:
    """What was released before that has recipients or columns in common."""
    for r in found[:MOST]:
        yield f"{_when(r.at)}  {r.job[:SHOWN_DIGITS]} -> {', '.join(r.to)}  {r.purpose or 'no purpose'}" + (
            "" if r.sure else "  (ended; it may have been released)"
        )
        yield f"  the same: {', '.join((*r.recipients, *r.columns))}"
        yield f"  {' '.join(r.sql.split())}"
    if len(found) > MOST:
        yield f"and {len(found) - MOST} more"
    if not found:
        yield "Nothing to the same recipient or of the same columns."


def _when(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds).astimezone().isoformat(sep=" ", timespec="minutes")


def _words(d: Decision) -> Iterator[str]:
    """How long it waits, who has approved, who is missing, and whether anything is left to decide."""
    yield f"asked {_when(d.asked)}; expires {_when(d.expires)}"
    for w in d.approvals:
        yield f"approved by {w.person}, {_when(w.at)}" + (f": {w.reason}" if w.reason else "")
    if d.needed > 1:
        yield f"{d.needed} persons have to approve; {d.missing} missing"
    if d.rejection:
        yield f"rejected by {d.rejection.person}, {_when(d.rejection.at)}: {d.rejection.reason}"
    if d.ran:
        yield "it has run"
    elif d.over:
        why = f" ({' at '.join(filter(None, (d.over.code, d.over.party)))})" if d.over.code else ""
        yield f"over: it ended elsewhere{why}, as the coordinator said {_when(d.over.at)}; nothing is left to decide"
    elif d.expires <= clock():
        yield "over: it has expired"


@contextmanager
def _store(consortium: Path | None, as_: str | None) -> Iterator[Store]:
    """The store of an owner's own node, on this machine."""
    folder = locate(consortium, as_, (), os.environ)
    if not (folder / "state" / "node.db").exists():
        raise LocalError(
            "config.missing", f"{folder} has no node that ever served: nothing can wait here.", "Use --as with a party."
        )
    with _open(folder) as store:
        yield store


@contextmanager
def _open(folder: Path) -> Iterator[Store]:
    _verify_decides(folder)
    store = Store(folder / "state" / "node.db", os.urandom(32))
    try:
        yield store
    finally:
        store.close()


def _verify_decides(folder: Path) -> None:
    """Raises LocalError config.invalid for the folder of a member that approves no jobs. Without a roster that can be
    read nobody knows, and nothing is in the way of a stop."""
    name = load_config(folder).name
    try:
        roles = Roster.load(folder / "roster.json").member(name).roles
    except HejiError:
        return
    if not {"party", "helper"} & set(roles):
        raise LocalError(
            "config.invalid",
            f"{name} ({', '.join(roles)}) has no node that approves jobs: nothing is decided here.",
            "Every party decides in its own folder. A coordinator or witness ends by Ctrl-C or SIGTERM, and goes on "
            "when it is served again; whoever asked for a job ends it with `heji jobs cancel`.",
        )


def _one(found: Sequence[Decision], begins: str) -> Decision:
    by_job = {d.job: d for d in found}
    return by_job[whole_id(begins, lambda: by_job, whose="jobs asked about here", advice="heji jobs pending")]
