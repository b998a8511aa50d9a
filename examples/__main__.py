"""``python -m examples NAME``: run an example and show what it asks, what comes out, who learns what, and what the
commands of its page print."""

from __future__ import annotations

import sys

from examples.running import names, run
from examples.walking import walk


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1] not in names():
        sys.exit(f"Usage: python -m examples {' | '.join(names())}")
    exact = True
    for told in run(sys.argv[1]):
        print(f"{told.query.name}: to {told.query.to}, for {told.query.purpose}\n\n{told.query.sql}\n\n{told.table()}")
        verdict = "; ".join(told.comparison.differences) or "equal to the plaintext to the last digit"
        hidden = f", {told.comparison.suppressed} suppressed" if told.comparison.suppressed else ""
        print(f"{told.comparison.cells} values{hidden}: {verdict}\n\nWho learns what:")
        for entry in told.ledger:
            print(f"  {entry['role']:12} {entry['learns']}")
        print()
        exact &= told.comparison.exact
    for step in walk(sys.argv[1]):
        print(f"$ {step.command}\n{step.printed}")
        exact &= step.same
    sys.exit(0 if exact else 1)


if __name__ == "__main__":
    main()
