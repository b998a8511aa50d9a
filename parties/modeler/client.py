"""The modeler's side: plan, sign, submit, wait, open. Everything here runs on the modeler's own machine.

    with connect("consortium", as_="analyst") as heji:
        print(heji.explain("SELECT ..."))
        result = heji.query("SELECT ...", to="analyst", purpose="SME credit line review")
        result.table, result.to_pandas(), result.statement

The key that opens a result is made here and stays here (``jobs/ID.json`` in the member's folder, mode 0600), so a
result can be fetched later, by the same member, from the same folder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpc.errors import HejiError, LocalError
from mpc.query.catalog import Catalog
from mpc.query.plan import Plan
from parties.failures import decode
from parties.job_ids import DIGITS, SHOWN_DIGITS, whole_id
from parties.member import Member
from parties.modeler.asked import NONE, Asked, Submitted
from parties.modeler.asking import Asking
from parties.modeler.coordinator import Coordinator, Watcher
from parties.modeler.deposits import Collecting
from parties.modeler.loop import Loop
from parties.modeler.opening import result_of
from parties.results import Result
from parties.rpc.v1 import coordinator_pb2 as pb


class Client:
    """A member's connection to its coordinator. Blocking methods; one background thread runs the event loop."""

    def __init__(self, folder: Path) -> None:
        """``folder``: the member's own folder (keys, roster). Raises LocalError config.*, roster.*."""
        self._loop = Loop()
        try:
            self.member = self._loop.wait(_member(folder))
            self._coordinator = Coordinator(self.member)
        except BaseException:
            self._loop.stop()
            raise
        self._asking = Asking(self.member, self._coordinator)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        if self._loop.running:
            self._loop.wait(self.member.close())
            self._loop.stop()

    @property
    def name(self) -> str:
        return self.member.name

    # -- before a job

    def catalog(self) -> dict[str, Catalog]:
        """What every party publishes, by party. Parties that cannot be reached are left out (see ``missing``)."""
        return self._loop.wait(self._coordinator.catalogs())[1]

    def missing(self) -> dict[str, str]:
        """Parties whose catalog is not to be had now, and why."""
        return dict(self._loop.wait(self._coordinator.catalogs())[0].missing)

    def explain(
        self,
        sql: str,
        to: str | tuple[str, ...] | None = None,
        *,
        purpose: str = "",
        trust: str = "helper",
        allow_two_party: bool = False,
        verified: bool = False,
        epsilon: str = "",
        entity_rows: int = 1,
        parameters: Mapping[str, str] = NONE,
        deposits: Collecting | None = None,
    ) -> dict[str, Any]:
        """What would happen, and what every owner would say, before anything runs (JSON-able)."""
        asked = Asked(purpose, trust, allow_two_party, verified, epsilon, entity_rows, parameters)
        return self._loop.wait(self._asking.explain(sql, to, asked, deposits))

    def plan(
        self,
        sql: str,
        recipients: tuple[str, ...],
        trust: str = "helper",
        parameters: Mapping[str, str] = NONE,
        *,
        epsilon: str = "",
        entity_rows: int = 1,
    ) -> Plan:
        """The plan of anybody's query, on the catalogs as they are now. Nobody is asked, nothing runs."""
        asked = Asked(trust=trust, epsilon=epsilon, entity_rows=entity_rows, parameters=parameters)
        return self._loop.wait(self._asking.plan(sql, recipients, asked))

    # -- jobs

    def query(
        self,
        sql: str,
        to: str | tuple[str, ...] | None = None,
        *,
        purpose: str = "",
        trust: str = "helper",
        allow_two_party: bool = False,
        verified: bool = False,
        epsilon: str = "",
        entity_rows: int = 1,
        parameters: Mapping[str, str] = NONE,
        watch: Watcher = lambda _status: None,
    ) -> Result:
        """Submit, wait and fetch. ``to``: recipient(s), else this member. ``parameters``: values of the ``$name`` in
        ``sql``. The others: as ``submit``. Raises HejiError on refusal or failure."""
        job = self.submit(
            sql,
            to,
            purpose=purpose,
            trust=trust,
            allow_two_party=allow_two_party,
            verified=verified,
            epsilon=epsilon,
            entity_rows=entity_rows,
            parameters=parameters,
        )
        if self.name not in job.recipients:
            raise LocalError(
                "job.not_recipient",
                f"{self.name} is no recipient; the result goes to {', '.join(job.recipients)}. The job id is {job.id}.",
            )
        try:
            self.wait(job.id, watch)
            return self.result(job.id)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(self._give_up(job.id)) from None

    def submit(
        self,
        sql: str,
        to: str | tuple[str, ...] | None = None,
        *,
        purpose: str = "",
        trust: str = "helper",
        allow_two_party: bool = False,
        verified: bool = False,
        epsilon: str = "",
        entity_rows: int = 1,
        parameters: Mapping[str, str] = NONE,
        days: int = 0,
        deposits: Collecting | None = None,
    ) -> Submitted:
        """Plan, sign and hand in a job; returns at once. ``days``: how long it may wait for owners that decide by hand
        (else an hour). ``verified``: totals that the recipient verifies. ``epsilon``: numbers with noise, of this
        privacy loss, as decimal text; of one entity at most ``entity_rows`` rows count then. ``deposits``: the parties
        deposit, each when it likes, until a closing date."""
        asked = Asked(purpose, trust, allow_two_party, verified, epsilon, entity_rows, parameters)
        handed_in: list[str] = []
        try:
            return self._loop.wait(self._asking.submit(sql, to, asked, days, deposits, handed_in.append))
        except KeyboardInterrupt:
            # it may be there already, though nobody has said so yet
            raise KeyboardInterrupt(*map(self._give_up, handed_in)) from None

    def _give_up(self, job: str) -> str:
        """Cancel a job that is not waited for any more; returns what has become of it, for people."""
        name = job[:SHOWN_DIGITS]
        try:
            self.cancel(job)
            return f"The job {name} is cancelled."
        except HejiError as problem:
            if problem.code == "job.unknown":
                return "No job was handed in."
        with contextlib.suppress(HejiError):
            state = self.show(job).state
            result = f"; fetch the result with `heji jobs result {name}`" if state == "done" else ""
            return f"The job {name} was {state} before it could be cancelled{result}."
        return f"The job {name} may go on: {self._coordinator.name} cannot be asked. See `heji jobs show {name}`."

    def wait(self, job: str, watch: Watcher = lambda _status: None) -> pb.JobStatus:
        """Wait until a job is final; raises why it failed."""
        status = self._loop.wait(self._coordinator.watch(job, watch))
        if status.state != "done":
            raise decode(status.error) if status.error else LocalError("job.state", f"The job is {status.state}.")
        return status

    def show(self, job: str) -> pb.JobStatus:
        status: pb.JobStatus = self._loop.wait(self._coordinator.call("Show", pb.JobRef(job=job)))
        return status

    def jobs(self) -> list[pb.JobStatus]:
        """Jobs this member submitted or receives, newest first."""
        return list(self._loop.wait(self._coordinator.call("List", pb.ListRequest())).jobs)

    def job_id(self, begins: str) -> str:
        """The whole id of the one of this member's jobs that ``begins`` so. Raises LocalError job.unknown."""
        begins = begins.strip().lower()
        if len(begins) == DIGITS:
            return begins
        return whole_id(
            begins,
            lambda: (j.job for j in self.jobs()),
            whose=f"jobs of {self.name}",
            advice="List yours with `heji jobs list`.",
        )

    def cancel(self, job: str) -> pb.JobStatus:
        status: pb.JobStatus = self._loop.wait(self._coordinator.call("Cancel", pb.JobRef(job=job)))
        return status

    def result(self, job: str) -> Result:
        """The result of a finished job this member receives."""
        return self._loop.wait(result_of(self.member, self._coordinator, job))


async def _member(folder: Path) -> Member:
    return Member(folder)  # channels belong to the loop they are made in
