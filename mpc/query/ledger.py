"""The leakage ledger: role by role what each learns, derived from the plan."""

from __future__ import annotations

from dataclasses import dataclass

from mpc.protocols import size
from mpc.query.plan import Plan
from mpc.query.plan_joins import JoinPool, TallyPool
from mpc.query.plan_pools import Key, Measure, Pool

_KINDS = {
    "rows": "the number of rows",
    "count": "the number of values that are not NULL",
    "sum": "the sum",
    "squares": "the sum of squares",
    "nulls": "how many of the added totals are NULL",
    "ranked": "the value at its place, which is one entity's",
    "known": "whether there is any value",
    "value": "the value",
    "present": "which rows are in the join",
}


@dataclass(frozen=True)
class Entry:
    """One role (a member's name, "coordinator" or "helper") and one thing it learns."""

    role: str
    learns: str


def ledger(plan: Plan, recipients: tuple[str, ...]) -> tuple[Entry, ...]:
    """What every role learns beside the job's text, which all participants read."""
    found: list[Entry] = []
    for recipient in recipients:
        found += [Entry(recipient, text) for pool in plan.pools for text in _revealed(pool)]
        found += [Entry(recipient, note) for note in plan.notes]
        if recipient in plan.parties and len(plan.joins) < len(plan.pools):
            found.append(
                Entry(recipient, "as it takes part itself: its own share, so what the others' values sum to without it")
            )
    for party in plan.parties:
        found.append(Entry(party, "the job's text: SQL, purpose, recipients, participants" + _of_others(plan, party)))
        found += [Entry(party, text) for pool in plan.pools for text in (*_searched(pool, party), *_met(pool, party))]
    if plan.trust == "deposit":
        return (*found, *_deposited(plan, recipients[0]))
    found.append(Entry("coordinator", _coordinator(plan, recipients)))
    for _, pool in plan.hidden_joins:
        found += [Entry("helper", text) for text in _helper(pool)]
    if plan.helped and not plan.hidden_joins:
        found.append(Entry("helper", "the job's text; how many cells are searched; it deals and hears nothing"))
    elif not plan.helped:
        without = "sums and joins like this one need no helper" if plan.joins else "sums need no helper"
        found.append(Entry("helper", f"nothing: {without}"))
    return tuple(found)


def _deposited(plan: Plan, recipient: str) -> tuple[Entry, ...]:
    """What differs where parties deposit (P10)."""
    words = sum(c for bits in (64, 128) for _, _, _, c in plan.columns(bits))
    return (
        Entry(recipient, "whose deposits are in the total; it is over those that deposited until the closing date"),
        Entry(
            "coordinator",
            f"the job's text and approvals; who deposits and when; of each deposit {words:,} encrypted words, of which "
            "it can read none",
        ),
        Entry(
            f"coordinator and {recipient} together",
            "every single deposit: with the key of the one and the ciphertexts of the other; so they must not be of "
            "one organisation, and owners grant deposits by name",
        ),
        Entry("helper", "nothing: sums need no helper"),
    )


def _of_others(plan: Plan, party: str) -> str:
    more = any((*_searched(pool, party), *_met(pool, party)) for pool in plan.pools)
    return "; of the others' data only what follows" if more else "; of the others' data nothing"


def _searched(pool: Pool, party: str) -> list[str]:
    """What a search for values by their place shows the parties that are led by it."""
    measures = [m.measure for r in pool.rankings if len(r.parties) > 1 and party in r.parties for m in r.measures]
    if isinstance(pool, JoinPool) and party in pool.parties:
        measures = list(dict.fromkeys(r.released // pool.slices for r in pool.ranked))
    return [
        f"{_cells(pool.keys)}, {pool.measures[m].name}, as the recipients do; or that an owner, not which, has too few "
        "entities there"
        for m in measures
    ]


def _met(pool: Pool, party: str) -> list[str]:
    """What the parties of a join without a helper learn of each other."""
    if not isinstance(pool, TallyPool) or party not in pool.parties:
        return []
    if pool.asks:
        return _sized(pool, party)
    spine, other = pool.sides
    theirs = other if party == spine.party else spine
    passing = " (of both, the rows that pass their own conditions)" if pool.by_row else ", whatever the conditions"
    texts = [
        f"which of its own keys the table of {theirs.name} has too{passing}; of the other keys there only that they "
        f"are at most {theirs.rows:,}, as published"
    ]
    if pool.compared:
        texts.append(
            f"uniform words and ciphertexts in place of what of {theirs.party} is compared with its own columns, row "
            "by row; neither those columns nor how a comparison comes out"
        )
    if pool.by_row:
        if pool.weighed:
            texts.append(_weights(theirs is other, spine.party))
        return texts
    if theirs is spine:
        texts.append(
            f"of each of the {pool.groups:,} groups of {spine.name}, in an order that says nothing and without labels, "
            f"how many entities each measure counts there, with the conditions of both{_and_comparisons(pool)} (0 "
            "where fewer than the owners' min_entities keys met in a group)"
        )
    else:
        texts.append(f"ciphertexts under a key of {other.party}; neither its values nor which rows pass its conditions")
    return texts


def _and_comparisons(pool: TallyPool) -> str:
    return " and those that compare their columns" if pool.compared else ""


def _sized(pool: TallyPool, party: str) -> list[str]:
    """Of a join of which only the number of keys that met is asked."""
    theirs = next(s for s in pool.sides if s.party != party)
    texts = [
        f"of the keys of {theirs.name} that they are at most {theirs.rows:,}, as published; not which of its own are "
        "among them",
        "whether the number of keys that met is hidden, as the recipient learns it",
    ]
    if pool.hides:
        texts[1] += (
            f": fewer than the owners' min_entities met, or of the keys of {' or '.join(pool.hides)} fewer than that "
            "did not"
        )
    if party == pool.asks and party not in pool.hides:
        texts.append(
            f"the number of keys that met plus one that {theirs.party} draws below {size.EXTRA:,}, so about how many, "
            "where they are many"
        )
    return texts


def _weights(asks: bool, spine: str) -> str:
    """What is multiplied row by row under the recipient's key."""
    if asks:
        return "of what its own columns are multiplied by only the results; chosen far enough apart they tell all of it"
    return f"ciphertexts of columns of {spine} under its key, and not the columns"


def _helper(pool: JoinPool) -> list[str]:
    """What matching tags shows, and dealing does not."""
    spine = pool.sides[0]
    others = [s for s in pool.sides if s.party != spine.party]  # its own other tables the spine brings in by itself
    texts = [
        "the job's text; the number of rows of "
        + ", ".join(f"{s.name} (at most {s.rows:,}, as published)" for s in (spine, *others))
        + "; no value, no key and nothing that is opened",
    ]
    for s in others:
        texts.append(
            f"how many distinct keys of {spine.party}'s whole table are in that of {s.name}, whatever the conditions"
        )
    if not spine.unique:
        texts.append(
            f"how often each key of {spine.party}'s table repeats, by which the same key is known again in another "
            "alignment or job; not which key it is"
        )
    return texts


def _revealed(pool: Pool) -> list[str]:
    """The words of a pool, measure by measure."""
    parties = " + ".join(pool.parties)
    texts = []
    if isinstance(pool, JoinPool) and pool.by_row:
        return [_of_rows(pool, m) for m in pool.measures]
    for m in pool.measures:
        words = ", ".join(_KINDS[w.kind] for w in m.words)
        behind = " + ".join(r.party for r in m.reach) or parties
        if isinstance(pool, JoinPool):
            behind = f"the joined rows of {' and '.join(pool.parties)}"
        noised = (
            f", with noise of {' and '.join(n)}" if (n := sorted({n.party for w in m.words for n in w.noise})) else ""
        )
        texts.append(f"{_cells(pool.keys)}, {m.name} of {behind}: {words}{noised}; or only that it is suppressed")
    return texts


def _of_rows(pool: JoinPool, m: Measure) -> str:
    """A word for each row of the recipient's own table."""
    if m.words[0].kind == "present":
        others = " and ".join(s.name for s in pool.sides[1:])
        return f"which of its own rows are in the join with {others}, so which keys these have too"
    return f"for each of those rows {m.name}: {', '.join(_KINDS[w.kind] for w in m.words)}"


def _cells(keys: tuple[Key, ...]) -> str:
    if not keys:
        return "one value"
    sizes = " × ".join(f"{k.name} ({len(k.domain)})" for k in keys)
    return f"for each cell of {sizes}"


def _coordinator(plan: Plan, recipients: tuple[str, ...]) -> str:
    words = {bits: sum(c for _, _, _, c in plan.columns(bits)) for bits in (64, 128)}
    counts = " and ".join(f"{n:,} masked words of {bits} bits" for bits, n in words.items() if n)
    each = f" for each of {len(recipients)} recipients" if len(recipients) > 1 else ""
    return (
        f"the job's text and approvals; from all parties together at most {counts}{each}, uniformly random to it; "
        "the shape of the result; nothing of any value"
    )
