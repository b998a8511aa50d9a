"""A join without a helper (P9): which shapes two parties can compute between them, and why others are refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

from mpc.errors import LocalError
from mpc.query.bilinear import NotBilinear, met, shown_by_themselves
from mpc.query.nodes import JoinSide
from mpc.query.plan_joins import JoinPool, TallyPool


def without_helper(pool: JoinPool, family: Sequence[JoinSide], ones: Sequence[Sequence[int]]) -> TallyPool:
    """The pool computed without a helper. ``ones``: of each side the columns that are 1 in every row that counts.

    Raises LocalError plan.trust, naming what cannot be and what to write instead.
    """
    parties = sorted({s.party for s in family})
    if len(parties) > 2:
        raise _refused(
            f"This join is of {len(parties)} parties ({', '.join(parties)}). Without a helper two can: of three, each "
            "pair would learn which keys they share.",
            "Join two of them at a time",
        )
    if len(family) > 2:
        raise _refused(
            "Without a helper a join has one table of each of two parties; this one has "
            f"{', '.join(f'{s.party}.{s.table}' for s in family)}.",
            "Ask the owner to publish its tables joined or united as one (heji node table add --sql)",
        )
    if any(s.optional for s in family):
        raise _refused("A LEFT JOIN needs a helper.", "Use JOIN, and a total of the left table by itself beside it")
    if pool.ranked:
        raise _refused(
            "MIN, MAX and quantiles over a join need a helper.",
            "Ask for COUNT, SUM, AVG or VARIANCE, or histogram bins",
        )
    made = TallyPool(**{f.name: getattr(pool, f.name) for f in fields(pool)}, ones=(tuple(ones[0]), tuple(ones[1])))
    steps = dict.fromkeys(s for r in pool.released for s in (*r.words, *r.entities))
    compared = tuple(s for s in steps if not _is_bilinear(made, s))
    assert not compared or pool.sides[0].unique, "else program.py refuses it: one key would be compared several times"
    words = [met(made, s) for r in pool.released for s in r.words if s not in compared]
    # of single rows the other side says its part of a word, or computes it under the recipient's key, key by key
    shown = shown_by_themselves(words)
    weighed = pool.by_row and any(a is not None and b >= 0 and b not in shown for word in words for a, b in word)
    if weighed and not pool.sides[0].unique:
        raise _refused(
            f"It multiplies columns of {family[1].party} by the recipient's, or lets the recipient's decide which of "
            f"them count, in rows whose key may repeat: {family[1].party} would learn how often each does.",
            f"Publish {family[0].party}'s table with one row for each key (unique)",
        )
    return replace(made, weighed=weighed, compared=compared)


def _is_bilinear(pool: TallyPool, step: int) -> bool:
    """Whether a step can be totalled on ciphertexts; else it is computed on shares."""
    try:
        met(pool, step)
    except NotBilinear:
        return False
    return True


def size_alone(pool: TallyPool, recipients: Sequence[str]) -> TallyPool:
    """The pool with who counts, where nothing but the number of keys that met is asked; else as it is.

    A recipient of the two counts, so that nobody learns besides about how many there are. ``COUNT(*)`` is that number
    where no key repeats, ``COUNT(DISTINCT key)`` always. What is let out then equals what its entities are counted by,
    0 or 1 in a row; so each side can leave out its rows with 0 before anything is said.
    """
    if pool.by_row or pool.keys or len(pool.measures) > 1:
        return pool
    (released,) = pool.released
    try:
        asked = [met(pool, s) for s in (*released.words, *released.entities)]
    except NotBilinear:
        return pool
    if len(released.words) > 1 or any(len(word) != 1 or word != asked[0] for word in asked):
        return pool
    (((a, _), times),) = asked[0].items()
    spine = pool.sides[0]
    if times != 1 or not (spine.unique or (a is not None and spine.columns[a].how == "mark")):
        return pool
    hides = tuple(s.party for s in pool.sides if s.party in recipients)
    return replace(pool, asks=(*hides, spine.party)[0], hides=hides)


def _refused(why: str, instead: str) -> LocalError:
    return LocalError(
        "plan.trust",
        f'The job accepts trust "parties" only. {why}',
        f"{instead}; or submit it with --trust helper, who deals random numbers, matches keyed tags and sees no value.",
    )
