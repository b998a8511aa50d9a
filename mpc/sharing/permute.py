"""P7 Permute shared columns by a permutation that one holder knows, by a dealt correlation.

    helper                        owner A, knows π                       every other holder X
      π' from k_AH                  π' from k_AH                            a_X, b_X from its key with the helper
      a = Σ a_X, b = Σ b_X
      ── Δ = a∘π' − b ──────▶
                                    ── σ = π'^-1∘π ─────────────────▶
                                    ◀── w_X − a_X ────────────────────
                                    (w_A + Σ (w_X − a_X))∘π + Δ∘σ            b_X∘σ

(x∘π)[i] = x[π[i]]. Several columns that go by one π share π' and σ; a, b and Δ are each column's own.

Trust level: helper. Adversary: semi-honest; private from any coalition without both the helper and another holder: σ is
uniform to who does not know π', w_X − a_X is uniform to A, and so is Δ, since b is not known to it. Leakage: nobody
learns anything; the helper hears nothing. Rounds: two (σ, then the columns). Bytes: 4 n from A to every other holder;
for each column w n from every other holder to A, and w n from the helper to A; w = 8 or 16. Source: the dealt share
translation of Chase, Ghosh, Poburinnaya: Secret-Shared Shuffle, ASIACRYPT 2020, for a permutation that one side knows,
here with a dealer in place of oblivious transfer and for any number of holders.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mpc.blocks import hear_positions, hear_words, say_positions, say_words
from mpc.errors import PeerError
from mpc.messages import RingWords
from mpc.permutation import permutation
from mpc.ring import ring
from mpc.rounds import Rounds, Session
from mpc.sharing.circle import Circle, drawn, total

Order = NDArray[np.int64]


def permute(
    session: Session,
    circle: Circle,
    owner: str,
    rings: Sequence[int],
    columns: Sequence[RingWords],
    order: Order | None = None,
) -> Rounds[list[RingWords]]:
    """A holder's role. ``columns``: its shares, n elements each, in the rings of ``rings``; ``order``: (n,) at the
    owner, nothing elsewhere. Returns its shares of the columns with element order[i] at place i.
    """
    assert columns and len(rings) == len(columns) and len({len(x) for x in columns}) == 1
    if session.me == owner:
        assert order is not None and np.array_equal(np.sort(order), np.arange(len(columns[0])))
        return (yield from _permute_owner(session, circle, rings, columns, order))
    assert order is None
    return (yield from _permute_other(session, circle, owner, rings, columns))


def deal_permute(session: Session, circle: Circle, owner: str, rings: Sequence[int], n: int) -> Rounds[None]:
    """The helper's role: columns of ``n`` elements in these rings."""
    dealt = permutation(session.pairs[owner], session.at("order").path, n)
    others = sorted(circle.others(owner))
    for here, bits in _columns(session, rings):
        a, b = (total(bits, [drawn(here.at(name), x, bits, n) for x in others]) for name in ("a", "b"))
        delta = a[dealt]
        ring(bits).subtract_into(delta, b)
        yield from say_words(here.at("delta"), owner, bits, delta)


def _permute_owner(
    session: Session, circle: Circle, rings: Sequence[int], columns: Sequence[RingWords], order: Order
) -> Rounds[list[RingWords]]:
    n, others = len(order), sorted(circle.others(session.me))
    back = np.empty(n, dtype=np.int64)
    back[permutation(session.pairs[circle.helper], session.at("order").path, n)] = np.arange(n)
    sigma = back[order].astype(np.uint32)
    for x in others:
        yield from say_positions(session.at("sigma"), x, sigma)
    out = []
    for (here, bits), column in zip(_columns(session, rings), columns, strict=True):
        masked = column.copy()
        for x in others:
            ring(bits).add_into(masked, (yield from hear_words(here.at("masked"), x, bits, n)))
        permuted = masked[order]
        delta = yield from hear_words(here.at("delta"), circle.helper, bits, n)
        ring(bits).add_into(permuted, delta[sigma])
        out.append(permuted)
    return out


def _permute_other(
    session: Session, circle: Circle, owner: str, rings: Sequence[int], columns: Sequence[RingWords]
) -> Rounds[list[RingWords]]:
    n = len(columns[0])
    sigma = yield from hear_positions(session.at("sigma"), owner, n, n)
    named = np.zeros(n, dtype=np.bool_)
    named[sigma] = True
    if not named.all():
        step = session.at("sigma").path
        raise PeerError("protocol.malformed", f"{owner} named a place twice at {step}.", party=owner, step=step)
    out = []
    for (here, bits), column in zip(_columns(session, rings), columns, strict=True):
        masked = column.copy()
        ring(bits).subtract_into(masked, drawn(here.at("a"), circle.helper, bits, n))
        yield from say_words(here.at("masked"), owner, bits, masked)
        out.append(drawn(here.at("b"), circle.helper, bits, n)[sigma])
    return out


def _columns(session: Session, rings: Sequence[int]) -> Iterator[tuple[Session, int]]:
    for c, bits in enumerate(rings):
        yield session.at(f"column/{c}"), bits
