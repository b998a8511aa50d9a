"""How large a result a node lets be asked for, and how large a join."""

from __future__ import annotations

from mpc.errors import LocalError
from mpc.query.plan import Plan
from mpc.query.plan_joins import shows_rows
from parties.member import Member


def verify_cells(member: Member, plan: Plan) -> None:
    """Raises LocalError job.limits for more cells than ``max_cells``."""
    cells, most = sum(p.cells * len(p.measures) for p in plan.pools if not shows_rows(p)), member.config.max_cells
    if cells > most:
        raise LocalError(
            "job.limits",
            f"The job has {cells} cells; {member.name} allows {most}.",
            "Group by fewer keys or by keys with smaller domains.",
        )


def verify_memory(member: Member, memory: int) -> None:
    """Raises LocalError job.limits for joins that take more bytes than ``max_join_bytes``."""
    most = member.config.max_join_bytes
    if memory > most:
        raise LocalError(
            "job.limits",
            f"The join would take about {memory / 1e9:.1f} GB of memory at {member.name}, which allows "
            f"{most / 1e9:.1f} GB.",
            "Ask for fewer columns or rows at once: for totals in place of results by row, or for keys with fewer "
            f"values; or let {member.name} raise max_join_bytes in its member.toml.",
        )
