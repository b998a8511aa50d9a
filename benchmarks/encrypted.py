"""``python -m benchmarks.encrypted``: encrypt, add, decrypt per value by Paillier, BFV and CKKS, beside masked sums.

One core, one process, no network: the work of one depositor (encrypt), of the coordinator for one more depositor (add)
and of the recipient (decrypt), with the bytes one depositor sends. Every total is checked. Paillier's blinding factors
are made on the days before, so they stand in a column of their own (``ahead``).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.sharing import sessions
from mpc.crypto import lattice, paillier
from mpc.crypto.seeded import SEED_BYTES, Seeds
from mpc.lifted import LiftedPacking
from mpc.messages import RingWords
from mpc.protocols.total import Sum, contribute, open_total
from mpc.ring import ring
from mpc.rounds import NOBODY, Round
from parties.depositing import saved_by_seal

PARTIES = ("a", "b", "c")
#: |value|: money in fen of a large firm
BOUND = 10**11
#: more values than these would take Paillier's factors a quarter of an hour to make
PAILLIER_MOST = 100_000

Row = dict[str, Any]


def encrypted(sizes: tuple[int, ...] = (10, 1_000, 100_000, 1_000_000)) -> list[Row]:
    """A row for each method and number of values."""
    rows = []
    key = paillier.key_from_seed(os.urandom(32))
    keys = {"bfv": lattice.new_key("bfv"), "ckks": lattice.new_key("ckks")}
    for n in sizes:
        vectors = [np.random.default_rng(i).integers(-BOUND, BOUND, n).view(np.uint64) for i in range(len(PARTIES))]
        rows.append(_masked(vectors))
        for scheme in ("bfv", "ckks"):
            rows.append(_lattice(keys[scheme], vectors))
        if n <= PAILLIER_MOST:
            rows.append(_paillier(key, vectors))
    return rows


def _timed(what: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    found = what()
    return time.perf_counter() - began, found


def _row(method: str, n: int, encrypt: float, add: float, decrypt: float, size: int, ahead: float = 0.0) -> Row:
    per = 1e6 / n
    return {
        "method": method,
        "values": n,
        "ahead_us": ahead * per,
        "encrypt_us": encrypt * per,
        "add_us": add * per,
        "decrypt_us": decrypt * per,
        "bytes_a_value": size / n,
    }


def _right(vectors: list[RingWords], total: RingWords) -> None:
    assert np.array_equal(np.sum(vectors, axis=0, dtype=np.uint64), total), "a total came out wrong"


def _masked(vectors: list[RingWords]) -> Row:
    """P3: three parties and an outside recipient."""
    n = len(vectors[0])
    s = Sum("sum", PARTIES, "r", 64, n)
    coins = sessions([*PARTIES, "r"], 0)
    said: list[list[Round]] = []
    seconds = []
    for name, x in zip(PARTIES, vectors, strict=True):
        taken, rounds = _timed(lambda name=name, x=x: list(contribute(coins[name], s, x, "coordinator")))
        seconds.append(taken)
        said.append(rounds)
    columns = [np.concatenate([r.say["coordinator"].words for r in rounds]) for rounds in said]  # type: ignore[union-attr]
    assert all(r.hear == NOBODY for rounds in said for r in rounds)
    total = columns[0].copy()

    def add() -> None:
        for c in columns[1:]:
            ring(64).add_into(total, c)

    added, _ = _timed(add)
    opened, _ = _timed(lambda: open_total(coins["r"], s, total))
    _right(vectors, total)
    return _row("masked", n, sum(seconds) / len(PARTIES), added / 2, opened, 8 * n)


def _lattice(secret: lattice.SecretKey, vectors: list[RingWords]) -> Row:
    n, key = len(vectors[0]), secret.public
    size = SEED_BYTES * key.ciphertexts(n)
    seeds = [Seeds(os.urandom(size), saved_by_seal) for _ in vectors]  # as jobs do, so that a deposit can be made again
    encrypt, first = _timed(lambda: lattice.encrypt(key, vectors[0], seeds[0]))
    columns = [first, *(lattice.encrypt(key, v, s) for v, s in zip(vectors[1:], seeds[1:], strict=True))]
    add, total = _timed(lambda: lattice.add(key, columns))
    decrypt, opened = _timed(lambda: lattice.decrypt(secret, total, n))
    _right(vectors, opened.astype(np.int64).view(np.uint64))
    return _row(key.scheme, n, encrypt, add / len(columns), decrypt, sum(map(len, first)))


def _paillier(secret: paillier.SecretKey, vectors: list[RingWords]) -> Row:
    n, key = len(vectors[0]), secret.public
    packing = LiftedPacking(64, n, key.n.bit_length() - 1)
    blinds = os.urandom(packing.blind_bytes)
    pool = paillier.Pool(key)
    ahead, _ = _timed(lambda: pool.fill(os.urandom(32), packing.plaintexts * len(PARTIES)))
    encrypt, first = _timed(lambda: paillier.encrypt(key, packing.pack(vectors[0], blinds), pool))
    columns = [first, *(paillier.encrypt(key, packing.pack(v, blinds), pool) for v in vectors[1:])]
    add, total = _timed(lambda: paillier.add(key, columns, packing.plaintexts))
    decrypt, opened = _timed(lambda: packing.unpack(paillier.decrypt(secret, total), len(PARTIES)))
    _right(vectors, opened)
    size = len(paillier.encode(key, first))
    return _row("paillier", n, encrypt, add / len(columns), decrypt, size, ahead / len(PARTIES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="up to 1,000 values")
    asked = parser.parse_args()
    print(
        f"{'method':<10}{'values':>10}{'ahead µs':>12}{'encrypt µs':>12}{'add µs':>10}{'decrypt µs':>12}{'bytes':>10}"
    )
    for r in encrypted((10, 1_000) if asked.quick else (10, 1_000, 100_000, 1_000_000)):
        print(
            f"{r['method']:<10}{r['values']:>10,}{r['ahead_us']:>12.3f}{r['encrypt_us']:>12.3f}{r['add_us']:>10.3f}"
            f"{r['decrypt_us']:>12.3f}{r['bytes_a_value']:>10.1f}"
        )


if __name__ == "__main__":
    main()
