"""Plans written by hand: as much of one as the policy check reads."""

from __future__ import annotations

import datetime as dt

from mpc.policy.flow import Recipient, Request
from mpc.query.plan import Finish, Plan
from mpc.query.plan_pools import LocalQuery, Pool
from mpc.query.plan_reveals import ColumnUse, Reveal, Use

TODAY = dt.date(2026, 3, 1)
ANALYST = Recipient("analyst", "institute", ("modeler",))
BANK_A = Recipient("bank_a", "bank_a", ("party",))
BANK_B = Recipient("bank_b", "bank_b", ("party",))
COURT = Recipient("court", "court", ("party",))


def use(column: str, use: Use = "aggregate", party: str = "bank_a", table: str = "accounts") -> ColumnUse:
    return ColumnUse(party, table, column, use, f"{use} of {column}")


def reveal(
    *uses: ColumnUse,
    what: str = "SUM(balance)",
    pooled: bool | None = None,
    pool: str = "pool0",
    contributors: tuple[str, ...] | None = None,
) -> Reveal:
    who = tuple(sorted({u.party for u in uses})) if contributors is None else contributors
    return Reveal(what, pool, uses, who, len(who) > 1 if pooled is None else pooled, ())


def plan(*reveals: Reveal, sources: tuple[LocalQuery, ...] = (), parties: tuple[str, ...] = ()) -> Plan:
    data = {u.party for r in reveals for u in r.uses} | {c for r in reveals for c in r.contributors}
    pools = (Pool("pool0", (), (), sources, ()),) if sources else ()
    return Plan(
        "test",
        "parties",
        tuple(sorted({*data, *parties, *(s.party for s in sources)})),
        pools,
        Finish(None, (), None, (), None, 0, False),
        reveals,
        (),
    )


def request(
    *recipients: Recipient,
    purpose: str = "",
    trust: str = "parties",
    allow_two_party: bool = False,
    today: dt.date = TODAY,
    **organisations: str,
) -> Request:
    """Every party is its own organisation unless ``organisations`` says otherwise."""
    parties = {p: p for p in ("bank_a", "bank_b", "bank_c", "tax", "telecom")}
    return Request(recipients or (ANALYST,), {**parties, **organisations}, purpose, trust, allow_two_party, today)


def pooled_balance(*parties: str) -> Plan:
    """SUM(balance) over the union of the parties' accounts."""
    return plan(reveal(*(use("balance", party=p) for p in parties)))


def grant(columns: str = '["balance"]', **keys: str) -> str:
    """A ``[[grant]]`` on accounts for the analyst's totals, automatic; ``keys`` as TOML override or add."""
    given = {"table": '"accounts"', "columns": columns, "to": '["analyst"]', "uses": '["aggregate"]'}
    given["approval"] = '"auto"'
    return "[[grant]]\n" + "\n".join(f"{k} = {v}" for k, v in {**given, **keys}.items() if v) + "\n"
