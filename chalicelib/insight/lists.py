"""Reads lists page by page: plans, jobs, recovery points, services, findings.

Invariant: a filter that names nothing that exists or existed is refused, rather than giving an empty list.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chalicelib.catalog.recovery_point import SnapshotRef
from chalicelib.catalog.store import PlanStore, PointStore
from chalicelib.catalog.store.findings import FindingStore
from chalicelib.catalog.values import Answer
from chalicelib.insight.cursors import decode_cursor, encode_cursor
from chalicelib.insight.finding_answers import FindingPage, finding_answer
from chalicelib.insight.job_answers import JobAnswer, JobPage, job_answer
from chalicelib.insight.known_names import KnownNames
from chalicelib.insight.plan_page import PlanPage
from chalicelib.insight.point_answers import PointPage, point_answer
from chalicelib.insight.queries import (
    FindingQuery,
    JobQuery,
    ListQuery,
    PlanQuery,
    PointQuery,
    ReadinessQuery,
    StatusQuery,
)
from chalicelib.insight.readiness import ReadinessPage
from chalicelib.insight.readiness_pages import ReadinessPages
from chalicelib.insight.service_pages import ServicePages
from chalicelib.insight.status import StatusPage
from chalicelib.jobs.store import JobStore


@dataclass(frozen=True, slots=True)
class Lists:
    """Reads pages, and single jobs. `snapshots_of` returns the snapshots that a job's work restores."""

    plan_store: PlanStore
    point_store: PointStore
    job_store: JobStore
    finding_store: FindingStore
    service_pages: ServicePages
    readiness_pages: ReadinessPages
    names: KnownNames
    snapshots_of: Callable[[object], Sequence[SnapshotRef]]

    def plans(self, query: PlanQuery) -> PlanPage:
        """Return a page of plans, in the order of their names.

        Raises:
            InvalidInput: the cursor is wrong.
        """
        [after] = decode_cursor(query.cursor, 1)
        left = [stored.plan for stored in self.plan_store.all() if stored.plan.name > after]
        shown = left[: query.limit]
        cursor = encode_cursor(shown[-1].name) if len(left) > query.limit else None
        return PlanPage(items=tuple(shown), cursor=cursor)

    def jobs(self, query: JobQuery) -> JobPage:
        """Return a page of jobs, newest first.

        Raises:
            InvalidInput: a filter names nothing that exists or existed, or the cursor is wrong.
        """
        page = self.job_store.list(filters=query.filters, limit=query.limit, cursor=query.cursor)
        answer = JobPage(items=tuple(map(job_answer, page.items)), cursor=page.cursor)
        self._look_at(answer.items, query)
        return answer

    def job(self, job_id: str) -> JobAnswer:
        """Return one job.

        Raises:
            NotFound: there is no such job.
        """
        job = self.job_store.require(job_id)
        return job_answer(job, self.snapshots_of(job.work))

    def points(self, query: PointQuery) -> PointPage:
        """Return a page of recovery points, newest first.

        Raises:
            InvalidInput: a filter names nothing that exists or existed, or the cursor is wrong.
        """
        page = self.point_store.list(
            filters=query.filters, before=query.before, limit=query.limit, cursor=query.cursor
        )
        answer = PointPage(items=tuple(map(point_answer, page.items)), cursor=page.cursor)
        self._look_at(answer.items, query)
        return answer

    def status(self, query: StatusQuery) -> StatusPage:
        """Return a page of services, by plan and name.

        Raises:
            InvalidInput: a filter names nothing that exists or existed, or the cursor is wrong.
        """
        answer = self.service_pages.page(query)
        self._look_at(answer.items, query)
        return answer

    def readiness(self, query: ReadinessQuery) -> ReadinessPage:
        """Return the readiness of a page of services, by plan and name.

        Raises:
            InvalidInput: a filter names nothing there is, or the cursor is not one of ours.
        """
        answer = self.readiness_pages.page(query)
        self._look_at(answer.items, query)
        return answer

    def findings(self, query: FindingQuery) -> FindingPage:
        """Return a page of findings, by place and kind.

        Raises:
            InvalidInput: a filter names nothing that exists or existed, or the cursor is wrong.
        """
        page = self.finding_store.page(query.filters, limit=query.limit, cursor=query.cursor)
        answer = FindingPage(items=tuple(map(finding_answer, page.items)), cursor=page.cursor)
        self._look_at(answer.items, query)
        return answer

    def _look_at(self, found: tuple[Answer, ...], query: ListQuery) -> None:
        if not found and query.cursor is None:
            self.names.require(query.filters)
