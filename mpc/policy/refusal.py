"""What a refusal tells: column, use, recipient, owner, the line that came closest, and the smallest grant that helps.

All that is missing is told at once. Everything here follows from plan and policy alone, never from data.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from mpc.errors import LocalError
from mpc.policy.grants import ALL, USES, Budget, Grant, Policy, write_grant
from mpc.policy.needs import Need, Obstacle, Request, chosen, not_in_joins, obstacles
from mpc.query.plan_reveals import Use

SHOWN = 12  # lines of a message; the facts hold all
#: obstacles of a grant that is about something else; the others are limits of one that is about this
_WHOM_AND_WHAT: tuple[Obstacle, ...] = ("column", "use", "recipient", "purpose")
_ANY_COLUMN = "  # COUNT(*): the name of any one column is enough"


@dataclass(frozen=True)
class Missing:
    """Columns of a table that lack the same use, for the same recipients, for the same reasons."""

    table: str
    columns: tuple[str, ...]
    use: Use
    to: tuple[str, ...]
    closest: Grant | None
    reasons: tuple[Obstacle, ...]
    need: Need  # the first of them, for the words


def refused(party: str, unmet: Sequence[Need], policy: Policy, request: Request) -> LocalError:
    """``policy.refused``; or ``policy.contributors`` where too few institutions in a total are all that is wrong."""
    missing = _missing(unmet, policy, request)
    reasons = {m.reasons for m in missing}
    code = "policy.contributors" if reasons <= {("contributors",), ("contributor_sets",)} else "policy.refused"
    told = [f"  - {_sentence(m, request)}" for m in missing[:SHOWN]]
    if len(missing) > SHOWN:
        told.append(f"  - and {len(missing) - SHOWN} more")
    grant = grant_text(unmet, request)
    return LocalError(
        code,
        f"The policy of {party} does not allow this job:\n" + "\n".join(told),
        _advice(party, missing, grant, code),
        party=party,
        missing=[
            {
                "party": party,
                "table": m.table,
                "columns": list(m.columns),
                "use": m.use,
                "to": list(m.to),
                "reveals": m.need.what,
                "where": m.need.where,
                "line": m.closest.line if m.closest else None,
                "reasons": list(m.reasons),
            }
            for m in missing
        ],
        grant=grant,
    )


def grant_text(needs: Iterable[Need], request: Request) -> str:
    """The fewest ``[[grant]]`` blocks that meet ``needs`` and give no column a use that it does not need."""
    blocks = []
    for grant in _grants(needs, request):
        text = write_grant(grant)
        if grant.columns == (ALL,):
            text = text.replace('columns = ["*"]', 'columns = ["*"]' + _ANY_COLUMN)
        blocks.append(text)
    return "\n".join(blocks)


def _grants(needs: Iterable[Need], request: Request) -> list[Grant]:
    # first what each column needs: (table, column) -> use -> recipients, fewest others, several sets, bits
    wanted: dict[tuple[str, str], dict[Use, tuple[tuple[str, ...], int, bool, int]]] = {}
    for n in needs:
        uses = wanted.setdefault((n.table, n.column), {})
        to, others, mixed, bits = uses.get(n.use, ((), Grant.min_contributors, False, Grant.max_bits))
        uses[n.use] = (
            tuple(dict.fromkeys((*to, n.recipient.entry))),
            others if n.others is None else min(others, n.others),
            mixed or n.several_sets,
            max(bits, n.bits),
        )
    # then the columns that need exactly the same go into one block
    blocks: dict[tuple[str, tuple[str, ...], int, bool, int, tuple[Use, ...]], list[str]] = {}
    for (table, column), uses in wanted.items():
        for terms in dict.fromkeys(uses.values()):
            same = tuple(u for u in USES if uses.get(u) == terms)
            blocks.setdefault((table, *terms, same), []).append(column)
    out = []
    for (table, to, others, mixed, bits, uses_of), columns in blocks.items():
        # COUNT(*) needs some column of the table: one that is granted the same anyway, "*" only if there is none
        named = tuple(c for c in columns if c != ALL)
        beside = any(
            tuple(terms) == (table, to, others, mixed, bits) and set(uses_of) <= set(u) and any(c != ALL for c in cs)
            for (*terms, u), cs in blocks.items()
        )
        if named or not beside:
            out.append(
                Grant(
                    table,
                    named or (ALL,),
                    to,
                    uses_of,
                    (request.purpose,) if request.purpose else Grant.purposes,
                    (request.trust,),
                    min_contributors=others,
                    contributor_sets="any" if mixed else "one",
                    max_bits=bits,
                    budget=None
                    if request.epsilon is None
                    else Budget(Decimal(request.epsilon.numerator) / request.epsilon.denominator),
                    approval="auto",
                )
            )
    return out


def _missing(unmet: Sequence[Need], policy: Policy, request: Request) -> list[Missing]:
    merged: dict[tuple[str, Use, int, tuple[Obstacle, ...]], list[tuple[Need, Grant | None]]] = {}
    for need in unmet:
        closest = _closest(policy, need, request)
        reasons = obstacles(closest, need, request) if closest else ()
        merged.setdefault((need.table, need.use, closest.line if closest else 0, reasons), []).append((need, closest))
    out = []
    for (table, use, _, reasons), found in merged.items():
        columns = tuple(dict.fromkeys(n.column for n, _ in found))
        to = tuple(dict.fromkeys(n.recipient.entry for n, _ in found))
        first, closest = found[0]
        out.append(Missing(table, columns, use, to, closest, reasons, first))
    return out


def _closest(policy: Policy, need: Need, request: Request) -> Grant | None:
    """Of the grants about the table the one that differs least in whom and what it is for, then the one with the fewest
    obstacles, then the first in the file: a limit of the right grant tells more than that another one is not for this.
    """
    about = [g for g in policy.grants if g.table.lower() == need.table.lower()]

    def distance(grant: Grant) -> tuple[int, int, int]:
        found = obstacles(grant, need, request)
        return sum(o in _WHOM_AND_WHAT for o in found), len(found), grant.line

    return min(about, default=None, key=distance)


def _sentence(m: Missing, request: Request) -> str:
    columns = ", ".join("COUNT(*)" if c == ALL else c for c in m.columns)
    place = f", in {_short(m.need.where)}" if m.need.where else ""
    head = f"{m.table}: {columns} for {m.use}, shown to {', '.join(m.to)} as {_short(m.need.what)}{place}."
    if m.closest is None:
        return f"{head} No grant is about the table {m.table}."
    because = "; it ".join(_because(r, m.closest, m.need, request) for r in m.reasons)
    return f"{head} The grant at line {m.closest.line} comes closest: it {because}."


def _because(reason: Obstacle, grant: Grant, need: Need, request: Request) -> str:
    purpose = f"is not for the purpose {_quoted(request.purpose)}"
    return {
        "column": "does not name the column" if grant.columns else "names no columns",
        "use": f"does not grant {need.use}",
        "recipient": f"is not for {need.recipient.entry}" if grant.to else "names no recipient",
        "purpose": purpose if request.purpose else "is for named purposes only, and the job states none",
        "trust": f"does not allow trust level {request.trust}",
        "expired": f"expired on {grant.expires}",
        "manual": "asks for approval by hand" + (" of two persons" if grant.persons > 1 else ""),
        "alone": f"has alone = false: {need.table} is shown in totals with other institutions only",
        "contributors": f"demands {grant.min_contributors} contributing institutions besides the recipient's own, "
        f"and this total has {need.others}",
        "contributor_sets": "lets a column into totals of one set of institutions, and this job adds it to several, "
        "whose difference could be solved for",
        "joined": f"has {' and '.join(not_in_joins(grant, need))}, which cannot be kept in {need.what} over this join",
        "counts": "has no budget and hides small cells by exact counts, and over a join with noise nothing is counted",
        "rounded": f"rounds sums of the column to {grant.round_to}; that goes for SUM and AVG of it, "
        + (
            "by itself and by conditions (FILTER, CASE WHEN … THEN column END), where tables are joined"
            if need.joined
            else "also weighed or by CASE, but not for products, powers, VARIANCE, MIN and MAX"
        ),
        "numbers": f"lets {grant.max_numbers} number(s) out of one population, and this job asks for {need.numbers}",
        "noise": "has a budget: its numbers carry noise, and the job asks for exact ones",
        "epsilon": f"has a budget of {_budget(grant)}, and this job asks for more",
        "bits": f"allows {grant.max_bits} condition(s) to be shown of an entity, and this job shows {need.bits}",
    }[reason]


def _advice(party: str, missing: Sequence[Missing], grant: str, code: str) -> str:
    advice = f"If {party} agrees, this in its policy.toml allows it:\n\n{grant}"
    if code == "policy.contributors":
        advice = f"Let more institutions contribute, the same in every total. {advice}"
    budgets = [m.closest.budget for m in missing if m.closest is not None and m.closest.budget is not None]
    reasons = {r for m in missing for r in m.reasons}
    if budgets and reasons <= {"noise", "epsilon"}:
        most = min(b.epsilon for b in budgets)
        advice = f'Ask with noise: --epsilon {most:f} or less (Python: epsilon="{most:f}"). {advice}'
    if any(m.need.others == 1 for m in missing):
        advice += f"\nWith min_contributors = 1 the recipient can read {party}'s part of the total."
    return advice


def _budget(grant: Grant) -> str:
    return f"{grant.budget.epsilon:f} in {grant.budget.days} days" if grant.budget else "none"


def noise_and_exact(party: str, needs: Sequence[Need], lines: Sequence[int], request: Request) -> LocalError:
    """``policy.refused``: some of an owner's grants hide by noise, some by exact counts, which would undo the noise."""
    columns = ", ".join(dict.fromkeys(f"{n.table}.{'COUNT(*)' if n.column == ALL else n.column}" for n in needs))
    return LocalError(
        "policy.refused",
        f"The policy of {party} does not allow this job: it goes by grants with a budget, and for {columns} by grants "
        f"without one (line {', '.join(map(str, lines))}), whose small cells would be hidden by exact counts. What "
        "exact counts decide is told without noise.",
        f"If {party} agrees, these columns get grants with a budget too:\n\n{grant_text(needs, request)}",
        party=party,
        lines=list(lines),
        grant=grant_text(needs, request),
    )


def pending(party: str, needs: Sequence[Need], policy: Policy, request: Request) -> LocalError:
    """``policy.pending``: all is granted, and persons at the owner's have to say yes, ``request.by_hand`` of them."""
    lines = sorted({g.line for n in needs if (g := chosen(policy, n, request)) and g.persons})
    two = ", and two persons have to agree" if request.by_hand > 1 else ""
    return LocalError(
        "policy.pending",
        f"{party} decides by hand whether this job may run{two} (approval of the grant at line "
        f"{', '.join(map(str, lines))} of its policy.toml).",
        f"Nothing is missing but {party}'s word: heji jobs pending, heji jobs approve JOB at {party}. "
        'approval = "auto" in the grant lets such jobs run without a person.',
        party=party,
        lines=lines,
        persons=request.by_hand,
    )


def two_party(reveal: str, readers: Sequence[str], contributors: Sequence[str], shared: str, grant: str) -> LocalError:
    """``plan.two_party``: the job must say that its recipient may read the only other institution's part."""
    joint = f" ({shared} count as one: they belong to one institution)" if shared else ""
    return LocalError(
        "plan.two_party",
        f"{_short(reveal)} adds values of {', '.join(contributors)} only{joint}, and {', '.join(readers)} receives it: "
        "by subtracting its own part it reads the other institution's.",
        "Send the result to a recipient of a third institution, or let a third one contribute. If the other one "
        "agrees to be read, ask with --allow-two-party (Python: allow_two_party=True); its grant then needs "
        "min_contributors = 1." + (f"\nIn its policy.toml:\n\n{grant}" if grant else ""),
        reveals=reveal,
        recipients=list(readers),
        contributors=list(contributors),
        grant=grant,
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _short(sql: str) -> str:
    one_line = " ".join(sql.split())
    return one_line if len(one_line) <= 80 else one_line[:77] + "..."
