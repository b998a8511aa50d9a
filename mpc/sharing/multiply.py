"""P4 Multiply: shares of x·y from shares of x and y, by a dealt product (a Beaver triple).

    helper                                     every holder i
      a = Σ a_i, b = Σ b_i from its keys        a_i, b_i, c_i from its key with the helper
      ── c_last = a·b − Σ c_i ────▶ the last one
                                                ── x_i − a_i, y_i − b_i ──▶ every other holder
                                                d = x − a, e = y − b
                                                z_i = c_i + d·b_i + e·a_i (+ d·e at the first)

Trust level: helper. Adversary: semi-honest; private from any coalition without both the helper and another holder
(who knows a and d knows x). Leakage: nobody learns anything; d and e are uniform. Rounds: one for each batch. Bytes for
each product: w from the helper, 2 w from every holder to every other (less from four: opening.py); w = 8 or 16.
Source: Beaver, Efficient Multiparty Protocols Using Circuit Randomization, CRYPTO 1991.

Where one holder knows x, the owner, it alone holds a: it says d to the others, they say their part of e to it alone,
and z_i = c_i + d·y_i (+ a·e at the owner): w a product from each to the other.

``select`` is one product: y + condition · (x − y).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mpc.blocks import hear_words, say_words
from mpc.messages import RingWords
from mpc.ring import ring
from mpc.rounds import Rounds, Session
from mpc.sharing.circle import Circle, all_drawn, drawn, total
from mpc.sharing.dealer import product_of_two
from mpc.sharing.opening import exchange, open_sum

#: products in one go: what bounds the memory
BATCH = 1 << 18


def multiply(session: Session, circle: Circle, bits: int, x: RingWords, y: RingWords) -> Rounds[RingWords]:
    """A holder's role. ``x``, ``y``: its shares, (n,) or (n, 2); returns its share of the product."""
    assert len(x) == len(y)
    out = ring(bits).zeros(len(x))
    for name, part in _batches(len(x)):
        out[part] = yield from _product(session.at(name), circle, bits, x[part], y[part])
    return out


def deal_multiply(session: Session, circle: Circle, bits: int, n: int) -> Rounds[None]:
    """The helper's role, or that of both holders where there is none: ``n`` products."""
    for name, part in _batches(n):
        here, count = session.at(name), part.stop - part.start
        if circle.alone:
            yield from product_of_two(here, circle, bits, count)
            continue
        a, b = (total(bits, all_drawn(here.at(name), circle, bits, count)) for name in ("a", "b"))
        yield from _deal_product(here, circle, bits, ring(bits).multiply(a, b))


def multiply_known(
    session: Session, circle: Circle, owner: str, bits: int, y: RingWords, x: RingWords | None = None
) -> Rounds[RingWords]:
    """A holder's role where ``owner`` knows ``x``, and nobody else does. ``y``: its share; returns one of x·y."""
    assert (x is not None) == (session.me == owner)
    out = ring(bits).zeros(len(y))
    for name, part in _batches(len(y)):
        known = None if x is None else x[part]
        out[part] = yield from _product_known(session.at(name), circle, owner, bits, y[part], known)
    return out


def deal_multiply_known(session: Session, circle: Circle, owner: str, bits: int, n: int) -> Rounds[None]:
    """The same for ``n`` products with a column of ``owner``."""
    for name, part in _batches(n):
        here, count = session.at(name), part.stop - part.start
        if circle.alone:
            yield from product_of_two(here, circle, bits, count, owner)
            continue
        a = drawn(here.at("a"), owner, bits, count)
        b = total(bits, all_drawn(here.at("b"), circle, bits, count))
        yield from _deal_product(here, circle, bits, ring(bits).multiply(a, b))


def select(
    session: Session, circle: Circle, bits: int, condition: RingWords, x: RingWords, y: RingWords
) -> Rounds[RingWords]:
    """A holder's role: its share of x where the shared condition is 1, of y where it is 0: y + condition · (x − y)."""
    r = ring(bits)
    difference = x.copy()
    r.subtract_into(difference, y)
    out = yield from multiply(session, circle, bits, condition, difference)
    r.add_into(out, y)
    return out


def deal_select(session: Session, circle: Circle, bits: int, n: int) -> Rounds[None]:
    """The helper's role of ``select``."""
    yield from deal_multiply(session, circle, bits, n)


# -- a batch


def _batches(n: int) -> Iterator[tuple[str, slice]]:
    for b, start in enumerate(range(0, n, BATCH)):
        yield f"batch/{b}", slice(start, min(start + BATCH, n))


def _product(session: Session, circle: Circle, bits: int, x: RingWords, y: RingWords) -> Rounds[RingWords]:
    r, n = ring(bits), len(x)
    a, b = (drawn(session.at(name), circle.helper, bits, n) for name in ("a", "b"))
    masked = np.concatenate((x, y))
    r.subtract_into(masked[:n], a)
    r.subtract_into(masked[n:], b)
    opened = yield from open_sum(session.at("open"), circle, bits, masked)
    z = yield from _dealt_product(session, circle, bits, n)
    d, e = opened[:n], opened[n:]
    if session.me == circle.first:
        r.add_into(b, e)  # d·b + d·e at once
    r.add_into(z, r.multiply(d, b))
    r.add_into(z, r.multiply(e, a))
    return z


def _product_known(
    session: Session, circle: Circle, owner: str, bits: int, y: RingWords, x: RingWords | None
) -> Rounds[RingWords]:
    r, n = ring(bits), len(y)
    e = y.copy()
    r.subtract_into(e, drawn(session.at("b"), circle.helper, bits, n))
    if x is not None:
        a = drawn(session.at("a"), circle.helper, bits, n)
        d = x.copy()
        r.subtract_into(d, a)
        yield from exchange(session.at("open"), circle.others(owner), bits, d, e, r.add_into)
        z = yield from _dealt_product(session, circle, bits, n)
        r.add_into(z, r.multiply(a, e))
    else:
        d = r.zeros(n)
        yield from exchange(session.at("open"), [owner], bits, e, d, r.add_into)
        z = yield from _dealt_product(session, circle, bits, n)
    r.add_into(z, r.multiply(d, y))
    return z


def _dealt_product(session: Session, circle: Circle, bits: int, n: int) -> Rounds[RingWords]:
    if session.me != circle.last:
        return drawn(session.at("c"), circle.helper, bits, n)
    return (yield from hear_words(session.at("c"), circle.helper, bits, n))


def _deal_product(session: Session, circle: Circle, bits: int, product: RingWords) -> Rounds[None]:
    """Tell the last holder what the others' parts of c lack."""
    for holder in circle.holders[:-1]:
        ring(bits).subtract_into(product, drawn(session.at("c"), holder, bits, len(product)))
    yield from say_words(session.at("c"), circle.last, bits, product)
