"""How large a result a node lets be asked for."""

from __future__ import annotations

from mpc.errors import LocalError
from mpc.query.plan import Plan, shows_rows
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
