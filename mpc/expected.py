"""How long a job may be expected to take, from what its plan says over every link, and how much memory.

The time of a job is processor time, and most of it goes with bytes: masks, hashes at both ends, TLS. The three numbers
are fitted to `make bench` on two shared cores (docs/benchmarks.md) and are right there within a factor of two. Reading
the tables for the first time, and conditions that a database is slow at, come on top.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mpc.joint_setup import Joint
from mpc.pair import Pair
from mpc.query.plan import Plan
from mpc.query.plan_joins import JoinPool
from mpc.steps import batches
from mpc.traffic import search_traffic, traffic

#: what every job takes, with all members on one machine
START = 0.3
#: for each byte that somebody says to somebody
A_BYTE = 6.5e-9
#: for each row of a side of a join: reading it out, tags, sorting
A_ROW = 3.5e-7
#: for each round of a search, in which little is said and everybody waits
A_ROUND = 5e-3
#: for each element of a verified sum that a contributor binds itself to, two at a time on two cores
A_COMMITMENT = 4e-5
#: for each point that is multiplied in a join without a helper, each ciphertext that a key's holder makes, each that
#: comes in and is multiplied, each that the other side blinds anew and the holder opens, and each into which that side
#: puts scores, two at a time on two cores; and a key and what else is the same in every such join
A_POINT, A_ROW_ENCRYPTED, A_PRODUCT, A_CIPHERTEXT, A_STACK, A_KEY = 3.2e-5, 1.5e-4, 1e-5, 1.5e-3, 1.5e-2, 0.4
#: for each term of a score, two at a time
A_SCORE = 1e-3
#: for each byte of what two parties deal each other, where one works while the other waits
A_DEALT_BYTE = 6e-8
#: memory for each row of a join without a helper: its key and points, for each of its ciphertexts, and for each of its
#: comparisons
PAIR_ROW_BYTES, CIPHERTEXT_MEMORY, COMPARED_MEMORY = 400, 3 * 800, 3000
#: memory of a node at rest, and for each word of a shared column: the share, masks, what is on its way
START_BYTES, WORD_BYTES = 200 << 20, 40


def expected_bytes(plan: Plan, compared: Mapping[int, JoinPool] = MappingProxyType({})) -> int:
    """Memory that the joins of a plan take at one data party at most, beside its tables: of one part at a time.
    ``compared``: by the number of their pool, joins as they are computed where they are compared with earlier ones."""
    joins = [compared.get(p, pool) for p, pool in plan.hidden_joins]
    parts = [next(Joint(pool, "helper", 1).pieces)[1] for pool in joins]
    hidden = [WORD_BYTES * max(j.rows, *map(j.rows_of, j.others)) * j.words for j in parts]
    pairs = [_unhelped_bytes(Pair(pool, 1)) for _, pool in plan.tallies]
    return max((START_BYTES + found for found in (*hidden, *pairs)), default=0)


def _unhelped_bytes(j: Pair) -> int:
    met, rows = j.pool.most - 1, j.spine.rows + j.other.rows
    most = max((len(b.steps) for b in batches(j.compared.steps)), default=0) if j.compared is not None else 0
    said = 0 if j.pool.by_row or j.pool.asks else j.tally.rows_said(met)
    return PAIR_ROW_BYTES * rows + CIPHERTEXT_MEMORY * said + COMPARED_MEMORY * most * met


def expected_seconds(plan: Plan, recipients: int) -> float:
    """Seconds from submission to result, beyond what single local queries take."""
    words = sum(
        cells * bits // 8 * len(plan.pools[p].parties) * recipients
        for bits in (64, 128)
        for p, _, _, cells in plan.columns(bits)
    )
    rows = sum(s.rows for _, pool in plan.joins for s in pool.sides)
    joins = [Joint(pool, "helper", 2) for _, pool in plan.hidden_joins]
    said = sum(t.bytes for j in joins for t in traffic(j))
    searches = [s for pool in plan.pools for s in pool.searches("helper")]
    said += sum(t.bytes for s in searches for t in search_traffic(s))
    rounds = sum(s.rounds for s in searches)
    rounds += sum(s.rounds for j in joins for s in (j.search, j.complement) if s is not None)
    bound = words // 16 if plan.verified else 0
    without = sum(_unhelped_seconds(Pair(pool, 1)) for _, pool in plan.tallies)
    return without + START + A_BYTE * (words + said) + A_ROW * rows + A_ROUND * rounds + A_COMMITMENT * bound


def _unhelped_seconds(j: Pair) -> float:
    """Blinding both ways, then the ciphertexts, if as many keys met as can."""
    points = A_POINT * 2 * (j.spine.rows + j.other.rows)
    if j.pool.asks:
        return points + A_POINT * 4 * j.size.extra
    met = min(j.spine.rows, j.other.rows)
    if (s := j.scoring) is not None:
        multiplied = met * sum(len(word) for word in s.words)
        points += A_KEY + A_ROW_ENCRYPTED * met * len(s.weights) + A_SCORE * multiplied
        points += (A_STACK + A_CIPHERTEXT) * s.ciphertexts(met)
    if j.compared is not None:
        points += A_DEALT_BYTE * sum(cost.asked + cost.answered for _, cost in j.compared.costs(met))
    if j.pool.by_row:
        return points
    t = j.tally
    blinded = t.totals_said + t.groups * len(t.shown)
    encrypted = t.rows_said(met) + t.groups * t.returned
    ciphertexts = A_KEY + A_ROW_ENCRYPTED * encrypted + A_CIPHERTEXT * blinded
    return points + ciphertexts + A_PRODUCT * len(t.products) * j.spine.rows
