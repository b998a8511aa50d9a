"""``heji``: one command for operators, modelers and auditors. Every error has a code, a reason and advice.

Exit status: 0 done; 1 refused or failed, with the reason on stderr; 2 the command line is wrong; 130 Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from mpc.errors import HejiError, LocalError
from parties.cli import asking, audit, catalog, demo, deposits, jobs, members, owner, policy
from parties.cli.output import complain

app = App(
    name="heji",
    help="Joint computation between institutions that may not show each other their data.",
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,  # main answers Ctrl-C
)
catalog.register(app)
asking.register(app)
owner.register(jobs.register(app), members.register(app), policy.register(app))
deposits.register(app)
audit.register(app)
demo.register(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its status."""
    words = sql_last(list(sys.argv[1:] if arguments is None else arguments))
    try:
        app(words, exit_on_error=False, print_error=True)
    except CycloptsError:
        sys.exit(2)
    except HejiError as error:
        complain(error)
        sys.exit(1)
    except KeyboardInterrupt as stopped:
        print("\nStopped.", *stopped.args, file=sys.stderr)  # noqa: T201
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output went away (heji … | head)
        sys.stderr.close()
        sys.exit(0)
    except OSError as problem:
        complain(LocalError("config.missing", f"{problem.filename or 'A file'}: {problem.strerror}."))
        sys.exit(1)


def sql_last(words: list[str]) -> list[str]:
    """SQL may begin with a comment (``-- totals\\nSELECT …``) or be ``-`` for standard input; neither is an option."""
    asking = words[:1] in (["query"], ["explain"]) or words[:2] in (["policy", "explain"], ["policy", "suggest"])
    if not asking or "--" in words:
        return words
    sql = [w for w in words if w == "-" or (w.startswith("-") and any(c.isspace() for c in w))]
    return [w for w in words if w not in sql] + (["--", *sql] if sql else [])
