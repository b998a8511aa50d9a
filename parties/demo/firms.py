"""Maker of linked small-enterprise data: the same firms as a tax bureau, two banks and a telecom know them.

One hidden list of firms (credit code, industry, province, size, turnover, how hard pressed they are) is drawn first;
what each institution holds follows from it, so that the tables hang together: tax follows turnover, so do balances and
phone bills, firms under pressure are late with everybody. No institution knows all firms, two banks share a good part
of theirs, some firms have two accounts, some values are missing.

    tax.firms        uscc industry region size founded employees turnover tax_paid arrears
    bank_a.accounts  uscc industry region size opened balance outstanding interest_paid overdue_days arrears
    bank_b.accounts  the same, other firms
    telecom.firms    uscc region size lines spend arrears
    bank_a.applicants  uscc wish        a dozen firms that ask bank A for a loan

Amounts are yuan with two decimals, over the year to ``AS_OF`` or on that day. ``overdue_days`` is NULL without a loan,
``tax_paid`` where no return was filed yet, ``spend`` where no bill was issued.

The codes have valid check digits, but their county is "99xx", which GB/T 2260 does not use: none can be a real firm's.

Randomness: numpy's PCG64 from a seed, because a demo must come out the same twice. It is not fit for secrets, and there
are none here. The same seed gives the same tables under one version of numpy. A million firms take a few seconds.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from parties.demo import credit_code
from parties.demo.code_lists import INDUSTRIES, PROVINCES, SIZES

AS_OF = dt.date(2025, 6, 30)
#: at most this many, so that a column of codes fits one Arrow text array (2 GiB)
MOST_FIRMS = 100_000_000
#: no amount of one row is larger, in fen (a billion yuan); `tables.py` declares bounds from it
LARGEST_AMOUNT = 10**11

#: firms that ask bank A for a loan
APPLICANTS = 12

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

#: section -> (share of firms in per mille, median yearly turnover in 10,000 yuan, tax per mille of turnover)
_INDUSTRY: dict[str, tuple[float, float, float]] = {
    "A": (25, 180, 4),
    "B": (2, 1500, 60),
    "C": (170, 900, 38),
    "D": (4, 1200, 35),
    "E": (80, 700, 32),
    "F": (300, 450, 18),
    "G": (35, 420, 26),
    "H": (35, 160, 22),
    "I": (60, 380, 40),
    "J": (8, 1500, 90),
    "K": (40, 800, 75),
    "L": (105, 300, 34),
    "M": (75, 320, 36),
    "N": (4, 350, 25),
    "O": (30, 110, 20),
    "P": (12, 130, 15),
    "Q": (6, 260, 14),
    "R": (20, 140, 22),
    "S": (2, 60, 5),
    "T": (0.2, 50, 1),
}
#: share of firms in per mille, in the order of PROVINCES
_PROVINCE = (
    52,
    15,
    45,
    20,
    12,
    22,
    10,
    12,
    55,
    110,
    85,
    40,
    40,
    25,
    90,
    60,
    40,
    35,
    130,
    20,
    10,
    25,
    50,
    15,
    20,
    1,
    30,
    8,
    2,
    4,
    10,
)


@dataclass(frozen=True)
class Latent:
    """The hidden list, a row a firm. Nobody in the consortium holds it."""

    code: credit_code.Codes  # n x 18 ASCII
    industry: Ints  # index into INDUSTRIES
    province: Ints  # index into PROVINCES
    size: Ints  # index into SIZES
    turnover: Floats  # yuan a year
    pressure: Floats  # standard normal; high: late with everybody
    founded: Ints  # year

    def __len__(self) -> int:
        return len(self.industry)


def linked_tables(firms: int = 2000, seed: int = 1) -> Iterator[tuple[str, str, pa.Table]]:
    """(party, table name, rows) one after another, so that at large sizes only one table is in memory at a time."""
    if not 1 <= firms <= MOST_FIRMS:
        raise ValueError(f"firms must lie between 1 and {MOST_FIRMS}")
    hidden = _hidden(firms, seed)
    yield "tax", "firms", _tax(hidden, _draws(seed, "tax"))
    yield "bank_a", "accounts", _accounts(hidden, _draws(seed, "bank_a"), reach=0.58)
    yield "bank_b", "accounts", _accounts(hidden, _draws(seed, "bank_b"), reach=0.47)
    yield "telecom", "firms", _telecom(hidden, _draws(seed, "telecom"))
    yield "bank_a", "applicants", _applicants(hidden, _draws(seed, "applicants"))


def write(table: pa.Table, path: Path) -> None:
    """Write as Parquet or CSV, by the suffix of ``path``; its folder is made if need be."""
    writers: dict[str, Callable[[Any, str], None]] = {
        ".parquet": pyarrow.parquet.write_table,
        ".csv": pyarrow.csv.write_csv,
    }
    if path.suffix not in writers:
        raise ValueError(f"cannot write {path.name}: the name must end in .parquet or .csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    writers[path.suffix](table, str(path))


def _draws(seed: int, name: str) -> np.random.Generator:
    """A stream of its own for each table, so that a change in one does not move the others."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, crc32(name.encode())])))


def _hidden(n: int, seed: int) -> Latent:
    draw = _draws(seed, "hidden")
    shares = np.array([_INDUSTRY[code][0] for code in INDUSTRIES])
    industry = draw.choice(len(shares), n, p=shares / shares.sum())
    regions = np.array(_PROVINCE, dtype=np.float64)
    province = draw.choice(len(regions), n, p=regions / regions.sum())
    median = np.array([_INDUSTRY[code][1] for code in INDUSTRIES])[industry] * 1e4
    turnover = np.minimum(median * draw.lognormal(0, 1.3, n), 1e9)
    return Latent(
        code=_codes(draw, province),
        industry=industry,
        province=province,
        size=np.digitize(turnover, (3e6, 2e7)).astype(np.int64),
        turnover=turnover,
        pressure=draw.normal(size=n),
        founded=np.maximum(AS_OF.year - 1 - draw.exponential(8, n).astype(np.int64), 1979),
    )


def _codes(draw: np.random.Generator, province: Ints) -> credit_code.Codes:
    """Distinct codes "MA" + 6 characters: i -> a*i + b is one to one modulo 31^6 where 31 does not divide a."""
    n, modulus = len(province), 31**6
    a = int(draw.integers(modulus // 31)) * 31 + int(draw.integers(1, 31))
    # a multiplied in two halves: the product with i would not be sure to fit 64 bits
    i = np.arange(n, dtype=np.int64)
    high, low = divmod(a, 31**3)
    number = (high * i % modulus * 31**3 + low * i + int(draw.integers(modulus))) % modulus
    bodies = np.zeros((n, credit_code.LENGTH), dtype=np.uint8)
    bodies[:, 0] = 9
    bodies[:, 1] = draw.choice([1, 2, 3], n, p=[0.8, 0.17, 0.03])
    prefixes = np.array([[int(p[0]), int(p[1]), 9, 9] for p in PROVINCES], dtype=np.uint8)
    bodies[:, 2:6] = prefixes[province]
    bodies[:, 6] = draw.integers(10, size=n)
    bodies[:, 7] = draw.integers(10, size=n)
    bodies[:, 8:10] = [credit_code.ALPHABET.index(c) for c in "MA"]
    for place in range(6):
        bodies[:, 10 + place] = number // 31 ** (5 - place) % 31
    return credit_code.complete(bodies)


def _tax(hidden: Latent, draw: np.random.Generator) -> pa.Table:
    rows = draw.permutation(np.flatnonzero(draw.random(len(hidden)) < 0.97))
    n, turnover = len(rows), hidden.turnover[rows]
    rate = np.array([_INDUSTRY[code][2] for code in INDUSTRIES])[hidden.industry[rows]] / 1000
    exempt = (turnover < 1.2e6) & (draw.random(n) < 0.6)
    paid = np.where(exempt, 0, turnover * rate * draw.lognormal(0, 0.35, n))
    employees = np.clip(turnover / 3.5e5 * draw.lognormal(0, 0.5, n), 1, 10_000).astype(np.int64)
    late = _late(hidden, rows, draw, share=0.07)
    return pa.table(
        _identity(hidden, rows, ("industry", "region", "size"))
        | {
            "founded": pa.array(hidden.founded[rows]),
            "employees": pa.array(employees),
            "turnover": _yuan(turnover),
            "tax_paid": _yuan(paid, missing=draw.random(n) < 0.02),
            "arrears": _yuan(np.where(late, paid * draw.uniform(0.05, 0.6, n), 0)),
        }
    )


def _accounts(hidden: Latent, draw: np.random.Generator, reach: float) -> pa.Table:
    larger = 0.08 * np.tanh(np.log(hidden.turnover / 4e6))
    customers = np.flatnonzero(draw.random(len(hidden)) < reach + larger)
    second = customers[draw.random(len(customers)) < 0.08]  # an entity is a firm, not a row
    rows = draw.permutation(np.concatenate([customers, second]))
    n, turnover = len(rows), hidden.turnover[rows]
    squeeze = np.exp(-0.4 * hidden.pressure[rows])
    balance = turnover * 0.08 * squeeze * draw.lognormal(0, 0.8, n) * np.where(draw.random(n) < 0.02, -0.2, 1)
    lent = draw.random(n) < 0.55
    outstanding = np.where(lent, turnover * 0.2 * draw.lognormal(0, 0.6, n), 0)
    late = _late(hidden, rows, draw, share=0.12) & lent
    overdue = np.where(late, np.minimum(1 + draw.exponential(60, n).astype(np.int64), 1800), 0)
    arrears = outstanding * np.minimum(overdue / 360, 1) * draw.uniform(0.3, 1, n)
    return pa.table(
        _identity(hidden, rows, ("industry", "region", "size"))
        | {
            "opened": _opened(hidden.founded[rows], draw),
            "balance": _yuan(balance),
            "outstanding": _yuan(outstanding),
            "interest_paid": _yuan(outstanding * draw.uniform(0.032, 0.068, n)),
            "overdue_days": pa.array(overdue, mask=~lent),
            "arrears": _yuan(arrears),
        }
    )


def _telecom(hidden: Latent, draw: np.random.Generator) -> pa.Table:
    rows = draw.permutation(np.flatnonzero(draw.random(len(hidden)) < 0.72))
    n, turnover = len(rows), hidden.turnover[rows]
    lines = np.clip(turnover / 1.2e6 * draw.lognormal(0, 0.6, n), 1, 5_000).astype(np.int64)
    spend = lines * 1_100 * draw.lognormal(0, 0.4, n)
    late = _late(hidden, rows, draw, share=0.10)
    return pa.table(
        _identity(hidden, rows, ("region", "size"))
        | {
            "lines": pa.array(lines),
            "spend": _yuan(spend, missing=draw.random(n) < 0.01),
            "arrears": _yuan(np.where(late, spend * draw.uniform(0.05, 0.3, n), 0)),
        }
    )


def _applicants(hidden: Latent, draw: np.random.Generator) -> pa.Table:
    need = np.exp(hidden.pressure)  # who is hard pressed asks for loans
    rows = draw.choice(len(hidden), min(APPLICANTS, len(hidden)), replace=False, p=need / need.sum())
    wish = np.rint(hidden.turnover[rows] * 0.1 * draw.lognormal(0, 0.5, len(rows)) / 1e4) * 1e4
    return pa.table({"uscc": _texts(hidden.code[rows]), "wish": _yuan(np.maximum(wish, 1e4))})


def _identity(hidden: Latent, rows: Ints, columns: Sequence[str]) -> dict[str, pa.Array]:
    lists = {
        "industry": (hidden.industry, INDUSTRIES),
        "region": (hidden.province, PROVINCES),
        "size": (hidden.size, SIZES),
    }
    labels = {c: pa.array(list(lists[c][1])).take(pa.array(lists[c][0][rows])) for c in columns}
    return {"uscc": _texts(hidden.code[rows])} | labels


def _late(hidden: Latent, rows: Ints, draw: np.random.Generator, share: float) -> Flags:
    """About ``share`` of the rows, mostly firms under pressure."""
    score = 0.8 * hidden.pressure[rows] + 0.6 * draw.normal(size=len(rows))  # again a standard normal
    threshold = {0.07: 1.476, 0.10: 1.282, 0.12: 1.175}[share]  # its upper quantiles
    return score > threshold


def _opened(founded: Ints, draw: np.random.Generator) -> pa.Array:
    """A day between the first of the founding year and AS_OF."""
    epoch = dt.date(1970, 1, 1)
    first_day = (founded - 1970).astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
    days = first_day + (draw.random(len(founded)) * ((AS_OF - epoch).days - first_day)).astype(np.int64)
    return pa.array(days.astype(np.int32), type=pa.int32()).cast(pa.date32())


def _yuan(amount: Floats, missing: Flags | None = None) -> pa.Array:
    """DECIMAL(18,2) from yuan, rounded to fen and kept within LARGEST_AMOUNT; exact from there on."""
    fen = np.clip(np.rint(amount * 100), -LARGEST_AMOUNT, LARGEST_AMOUNT).astype(np.int64)
    words = np.empty((len(fen), 2), dtype=np.int64)  # little-endian 128-bit two's complement
    words[:, 0], words[:, 1] = fen, fen >> 63
    valid = None if missing is None else pa.array(~missing).buffers()[1]
    return pa.Array.from_buffers(pa.decimal128(18, 2), len(fen), [valid, pa.py_buffer(words)])


def _texts(codes: credit_code.Codes) -> pa.Array:
    """Arrow text from n x width ASCII bytes, without a Python loop."""
    n, width = codes.shape
    offsets = np.arange(n + 1, dtype=np.int32) * width
    data = np.ascontiguousarray(codes)
    return pa.Array.from_buffers(pa.string(), n, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
