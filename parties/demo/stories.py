"""The questions that `heji demo` asks, each with the SQL that answers it and what to look at.

The SQL of sums: UNION ALL of several parties' tables, sums of scalars, GROUP BY labels with a declared domain, WHERE
and CASE over a party's own columns, HAVING, ORDER BY and LIMIT after the reveal. And joins: totals over the firms that
several parties know, by the firm's code, of which nobody learns which they are; and what they know of the firms in a
table of the recipient's own.

Two rules of protocols.md shape the choice: a pooled total has at least two contributing institutions besides the
recipient's own, and a column enters totals of one set of contributors only (a+b, b+c and a+c can be solved). Hence
``balance`` is always added over both banks, ``arrears`` always over all four institutions.

ORDER BY always ends in the key, so that there is one right order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

from parties.demo import code_lists


@dataclass(frozen=True)
class Story:
    """One job of the demo.

    ``keys``: result columns that tell the rows apart (none: a single row). ``chart``: (label column, value column), a
    label of "" where the value's own name is enough. ``hides``: at the demo's default size some cells have fewer than
    ten entities at an owner and come out suppressed, on purpose. ``by_row``: a row for each of the recipient's own.
    """

    name: str
    title: str
    question: str
    sql: str
    recipient: str
    purpose: str
    keys: tuple[str, ...] = ()
    ordered: bool = False
    chart: tuple[str, str] | None = None
    hides: bool = False
    by_row: bool = False


def chart_points(story: Story, rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[Any]]:
    """Labels as people read them and values, for `chart.bars`; a suppressed value is None."""
    if story.chart is None:
        return [], []
    key, value = story.chart
    return [code_lists.label(key, row[key]) if key else value for row in rows], [row[value] for row in rows]


def _sql(text: str) -> str:
    return dedent(text).strip()


TOGETHER = Story(
    name="together",
    title="How much do they have together?",
    question="I don't know how much bank A holds for small firms, nor how much bank B does. How much is it together?",
    sql=_sql("""
        SELECT SUM(balance) AS together
        FROM (SELECT balance FROM bank_a.accounts
              UNION ALL SELECT balance FROM bank_b.accounts)
    """),
    recipient="analyst",
    purpose="deposit statistics",
)

BURDEN = Story(
    name="burden",
    title="Four institutions, four different columns",
    question="What did small firms pay in a year to the tax bureau, to both banks in interest, and to the telecom?",
    sql=_sql("""
        SELECT (SELECT SUM(tax_paid) FROM tax.firms)
             + (SELECT SUM(interest_paid) FROM bank_a.accounts)
             + (SELECT SUM(interest_paid) FROM bank_b.accounts)
             + (SELECT SUM(spend) FROM telecom.firms) AS paid
    """),
    recipient="analyst",
    purpose="cost of doing business",
)

LENDERS = Story(
    name="lenders",
    title="Two lenders' loans, pooled by grade",
    question="How large are loans of each grade at both lenders, how do rates scatter, and what share goes bad?",
    sql=_sql("""
        SELECT grade, COUNT(*) AS loans, AVG(funded_amnt) AS amount, STDDEV(int_rate) AS rate_spread,
               AVG(CASE WHEN class = 'bad' THEN 1 ELSE 0 END) AS bad
        FROM (SELECT grade, funded_amnt, int_rate, class FROM bank_a.loans
              UNION ALL SELECT grade, funded_amnt, int_rate, class FROM bank_b.loans)
        GROUP BY grade ORDER BY grade
    """),
    recipient="analyst",
    purpose="credit risk study",
    keys=("grade",),
    ordered=True,
    chart=("grade", "bad"),
    hides=True,  # bank_b has seven bad loans of grade A: an owner may count the entities of the CASE
)

RATES = Story(
    name="rates",
    title="A histogram over both lenders",
    question="How are interest rates distributed over the loans of both lenders?",
    sql=_sql("""
        SELECT CASE WHEN int_rate < 8 THEN '05-08%' WHEN int_rate < 12 THEN '08-12%'
                    WHEN int_rate < 16 THEN '12-16%' WHEN int_rate < 20 THEN '16-20%'
                    WHEN int_rate < 24 THEN '20-24%' ELSE '24-30%' END AS band,
               COUNT(*) AS loans
        FROM (SELECT int_rate FROM bank_a.loans
              UNION ALL SELECT int_rate FROM bank_b.loans)
        GROUP BY band ORDER BY band
    """),
    recipient="analyst",
    purpose="credit risk study",
    keys=("band",),
    ordered=True,
    chart=("band", "loans"),
)

CHURN = Story(
    name="churn",
    title="The telecom alone: who leaves?",
    question="How many of the telecom's customers leave, by contract, and what do they pay?",
    sql=_sql("""
        SELECT contract, COUNT(*) AS customers, AVG(CASE WHEN churn THEN 1 ELSE 0 END) AS leaving,
               AVG(monthly_charges) AS monthly, SUM(total_charges) AS billed
        FROM telecom.customers
        GROUP BY contract ORDER BY leaving DESC, contract
    """),
    recipient="analyst",
    purpose="market study",
    keys=("contract",),
    ordered=True,
    chart=("contract", "leaving"),
)

BORROWERS = Story(
    name="borrowers",
    title="Where long-standing customers borrow",
    question="Firms with their bank since before 2024 that owe money: in which five provinces do they owe most?",
    sql=_sql("""
        SELECT region, COUNT(*) AS accounts, SUM(outstanding) AS owed, AVG(overdue_days) AS days_late
        FROM (SELECT region, outstanding, overdue_days FROM bank_a.accounts
              WHERE outstanding > 0 AND opened < DATE '2024-01-01'
              UNION ALL SELECT region, outstanding, overdue_days FROM bank_b.accounts
              WHERE outstanding > 0 AND opened < DATE '2024-01-01')
        GROUP BY region HAVING COUNT(*) >= 40 ORDER BY owed DESC, region LIMIT 5
    """),
    recipient="analyst",
    purpose="inclusive finance report",
    keys=("region",),
    ordered=True,
    chart=("region", "owed"),
)

INDUSTRIES = Story(
    name="industries",
    title="To the tax bureau: balances by industry, small cells hidden",
    question="What do firms of each industry hold at both banks? Cells with fewer than ten firms at a bank are hidden.",
    sql=_sql("""
        SELECT industry, COUNT(*) AS accounts, SUM(balance) AS held, AVG(balance) AS average
        FROM (SELECT industry, balance FROM bank_a.accounts
              UNION ALL SELECT industry, balance FROM bank_b.accounts)
        GROUP BY industry ORDER BY held DESC, industry
    """),
    recipient="tax",
    purpose="industry statistics",
    keys=("industry",),
    ordered=True,
    chart=("industry", "held"),
    hides=True,
)

UNPAID = Story(
    name="unpaid",
    title="To bank A: what firms owe and have not paid, anywhere",
    question="How much tax, loan instalments at both banks and phone bills are unpaid, by size of firm?",
    sql=_sql("""
        SELECT size, SUM(arrears) AS unpaid
        FROM (SELECT size, arrears FROM tax.firms
              UNION ALL SELECT size, arrears FROM bank_a.accounts
              UNION ALL SELECT size, arrears FROM bank_b.accounts
              UNION ALL SELECT size, arrears FROM telecom.firms)
        GROUP BY size ORDER BY unpaid DESC, size
    """),
    recipient="bank_a",
    purpose="SME credit line review",
    keys=("size",),
    ordered=True,
    chart=("size", "unpaid"),
)

REVIEW = Story(
    name="review",
    title="A join of three: borrowers who pay, by industry",
    question="Firms that owe bank A money and are on time: what do they owe, pay in tax and spend on the phone?",
    sql=_sql("""
        SELECT t.industry, COUNT(*) AS firms, SUM(a.outstanding) AS owed,
               SUM(t.tax_paid) AS tax, SUM(m.spend) AS phone
        FROM tax.firms t JOIN bank_a.accounts a USING (uscc) JOIN telecom.firms m USING (uscc)
        WHERE a.outstanding > 0 AND a.overdue_days = 0
        GROUP BY t.industry ORDER BY owed DESC, t.industry
    """),
    recipient="analyst",
    purpose="SME credit line review",
    keys=("industry",),
    ordered=True,
    chart=("industry", "owed"),
    hides=True,
)

INCOMES = Story(
    name="incomes",
    title="A join of two, on real loans: who earns what",
    question="What do bank A's borrowers earn, by grade of the loan? The tax bureau knows incomes, the bank grades.",
    sql=_sql("""
        SELECT l.grade, COUNT(*) AS loans, AVG(t.annual_inc) AS income, STDDEV(t.annual_inc) AS spread,
               AVG(l.funded_amnt) AS amount
        FROM bank_a.loans l JOIN tax.borrowers t USING (loan_id)
        GROUP BY l.grade ORDER BY l.grade
    """),
    recipient="analyst",
    purpose="credit risk study",
    keys=("grade",),
    ordered=True,
    chart=("grade", "income"),
)

EXPOSURE = Story(
    name="exposure",
    title="To bank A: what its applicants owe, anywhere",
    question="What has each firm that asks bank A for a loan not paid, at four institutions together? "
    "Nobody learns whom bank A asks about, and bank A not who is owed.",
    sql=_sql("""
        SELECT q.uscc, q.wish, SUM(l.arrears) AS unpaid
        FROM bank_a.applicants q
        JOIN (SELECT uscc, arrears FROM tax.firms
              UNION ALL SELECT uscc, arrears FROM bank_a.accounts
              UNION ALL SELECT uscc, arrears FROM bank_b.accounts
              UNION ALL SELECT uscc, arrears FROM telecom.firms) l USING (uscc)
        GROUP BY q.uscc, q.wish ORDER BY unpaid DESC, q.uscc
    """),
    recipient="bank_a",
    purpose="SME credit line review",
    keys=("uscc",),
    ordered=True,
    by_row=True,
)

DECISIONS = Story(
    name="decisions",
    title="To bank A: only the decision",
    question="Does each applicant pay enough tax for the loan it wants, and its phone bills? Bank A learns yes or no.",
    sql=_sql("""
        SELECT q.uscc, q.wish,
               CASE WHEN 5 * t.tax_paid >= q.wish AND m.arrears = 0 THEN 'pass' ELSE 'review' END AS decision
        FROM bank_a.applicants q JOIN tax.firms t USING (uscc) JOIN telecom.firms m USING (uscc)
        ORDER BY q.uscc
    """),
    recipient="bank_a",
    purpose="SME credit line review",
    keys=("uscc",),
    ordered=True,
    by_row=True,
)

STORIES: tuple[Story, ...] = (
    TOGETHER,
    BURDEN,
    LENDERS,
    RATES,
    CHURN,
    BORROWERS,
    INDUSTRIES,
    UNPAID,
    REVIEW,
    INCOMES,
    EXPOSURE,
    DECISIONS,
)
