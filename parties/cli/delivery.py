"""How a result reaches who asked: followed while it is computed, then printed or written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from rich.text import Text

from mpc.errors import LocalError
from parties.cli.output import err, out, plain, table_of
from parties.results import Result
from parties.rpc.v1 import coordinator_pb2 as pb

Format = Annotated[Literal["table", "json", "csv", "parquet"], Parameter(help="table, json, csv or parquet")]
Out = Annotated[Path | None, Parameter(name="--out", help="write the result to this file")]


def check_target(form: str, target: Path | None) -> None:
    """Fail before a job runs if its result could not be written afterwards."""
    if form == "parquet" and target is None:
        raise LocalError("config.missing", "Parquet is not for terminals.", "Add --out FILE.")
    if target is not None and not target.resolve().parent.is_dir():
        raise LocalError("config.missing", f"There is no folder {target.resolve().parent}.")


def deliver(result: Result, form: str, target: Path | None) -> None:
    """Print the result or write it, in the format asked for."""
    if target is not None:
        result.write(target, "csv" if form == "table" else form)
        err.print(f"Written to {target}.")
    elif form == "json":
        plain(result.to_json())
    elif form == "csv":
        plain(result.to_csv())
    else:
        out.print(table_of(result))
        statement = result.statement
        if statement.get("made_up"):
            err.print(
                Text(
                    "Over made-up tables, in the clear: nobody was asked, and small cells are not hidden.", style="dim"
                )
            )
            return
        err.print(
            Text(
                f"job {statement['job'][:16]} · from {', '.join(statement['parties'])} · trust {statement['trust']}"
                + (" · verified" if statement.get("verified") else "")
                + (f" · without {', '.join(w)}" if (w := statement.get("deposits", {}).get("missing")) else "")
                + (f" · CKKS, off by {x:.4f} of a last digit at most, rounded: exact" if (x := _off(statement)) else "")
                + (f" · {n} values suppressed" if (n := statement["suppressed_values"]) else "")
                + _rounded(statement.get("rounded", {}))
                + (f" · with noise, epsilon {noise['epsilon']}" if (noise := statement.get("noise")) else ""),
                style="dim",
            )
        )
        for party, budgets in statement.get("budgets", {}).items():
            for b in budgets:
                left = f"{party} leaves {b['recipient']} {b['left']} of {b['of']} in {b['days']} days"
                err.print(Text(f"{left} (its grant at line {b['line']})", style="dim"))


def _off(statement: dict[str, Any]) -> float:
    """How far a total under CKKS was off before it was rounded; 0 of any other."""
    return float(statement.get("deposits", {}).get("off_before_rounding", 0))


@contextmanager
def progress() -> Iterator[Callable[[pb.JobStatus], None]]:
    """A line on stderr that follows the job, where stderr is a terminal."""
    if not err.is_terminal:
        yield lambda _status: None
        return
    with err.status("submitted") as line:

        def watch(status: pb.JobStatus) -> None:
            far = f" {status.done}/{status.total}" if status.total else ""
            again = f", attempt {status.attempt}" if status.attempt > 1 else ""
            line.update(f"{status.state}{again} {status.phase if status.phase != status.state else ''}{far}")

        yield watch


def _rounded(by: Mapping[str, Mapping[str, str]]) -> str:
    said = [f"{party} to {to} ({column})" for party, columns in by.items() for column, to in columns.items()]
    return f" · sums rounded by {', '.join(said)}" if said else ""
