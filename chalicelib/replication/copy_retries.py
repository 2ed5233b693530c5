"""Tries copies again that failed or have disappeared, until they are made or no longer wanted.

A copy is wanted as long as its plan has the rule, the rule names the vault, the original is there, and the
vault's own lifecycle would keep the copy among the points that are or should be there. While a copy is due
(`due` of the point), lifecycles keep the original. An original that is not good now but may become so is
waited for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from chalicelib.catalog.recovery_point import DueCopy, RecoveryPoint
from chalicelib.catalog.store import PlanStore, PointStore, Table, due_copies
from chalicelib.catalog.store.due_copies import no_longer_due
from chalicelib.catalog.store.writes import Write
from chalicelib.errors import Conflict, FarshoreError
from chalicelib.jobs.engine import Engine
from chalicelib.jobs.job import AnyRequest
from chalicelib.jobs.tick import DueWork
from chalicelib.jobs.work import CopyMethods, copy_method, copy_request
from chalicelib.observability import COPY_NOT_OPENED, count, logger
from chalicelib.plans.lifecycle import Point, decide_lifecycle
from chalicelib.plans.model import Rule
from chalicelib.plans.values import PRIMARY
from chalicelib.replication.point_copy import may_become_available

LOOKS_AGAIN_AFTER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class CopyRetries:
    """Opens copies again. `methods` has, by vault name, how copies are made."""

    engine: Engine
    table: Table
    plans: PlanStore
    points: PointStore
    methods: CopyMethods
    now: Callable[[], datetime]

    def run(self, due: DueWork) -> None:
        """Open the copies of the due points that are to be made now.

        Raises:
            FarshoreError: a copy could not be opened and is to be tried again; the others were opened.
        """
        later: FarshoreError | None = None
        for point_id in due.points:
            try:
                self._open(point_id)
            except FarshoreError as error:
                logger().warning("copy not opened", extra={"point": point_id, "error": str(error)})
                count(COPY_NOT_OPENED)
                later = error
        if later is not None:
            raise later

    def _open(self, point_id: str) -> None:
        now, point = self.now(), self.points.get(point_id)
        if point is None:
            return
        stored = self.plans.get(point.plan)
        rule = stored.plan.rule(point.rule) if stored else None
        vaults = [vault for vault, copy in point.due.items() if copy.at is not None and copy.at <= now]
        for vault in vaults:
            if self.table.commit(self._next(point, rule, vault, now)):
                return  # it has changed since it was read: the next tick reads it again
            point = self.points.get(point_id) or point

    def _next(self, point: RecoveryPoint, rule: Rule | None, vault: str, now: datetime) -> Sequence[Write]:
        """Open a copy if it is wanted; return the writes that record this, or when it is due instead."""
        if not self._is_wanted(point, rule, vault, now):
            return no_longer_due(point, vault)
        if PRIMARY in point.available_in():
            return self._begun(point, vault, now)
        return _later(point, vault, now) if may_become_available(point) else no_longer_due(point, vault)

    def _begun(self, point: RecoveryPoint, vault: str, now: datetime) -> Sequence[Write]:
        """Open a copy; return the writes that record it. From then on the job decides when to try again."""
        request = self._request(point, vault, point.due[vault].tries)
        try:
            self.engine.open([request])
        except Conflict:  # the original has disappeared meanwhile
            return _later(point, vault, now)
        return due_copies.due(point, vault, DueCopy(point.due[vault].tries, None))

    def _request(self, point: RecoveryPoint, vault: str, tries: int) -> AnyRequest:
        """Return the request of the copy's next try; the count goes on after a copy that has disappeared."""
        method = copy_method(self.methods, point.kind, vault)
        while True:
            request = copy_request(point, vault, method, tries=tries)
            known = self.engine.jobs.states([request.id]).get(request.id)
            if known is None or not known.final:
                return request
            tries += 1

    def _is_wanted(self, point: RecoveryPoint, rule: Rule | None, vault: str, now: datetime) -> bool:
        if rule is None or rule.kind is not point.kind or vault not in rule.vaults:
            return False
        if vault in point.available_in():
            return False
        beside = [each for each in self.points.of_lineage(point.lineage) if _belongs_in(each, vault)]
        candidates = [
            Point(each.id, each.created_at, good=True, pool=each.pool, kept_until=each.keep_until)
            for each in beside
        ]
        verdicts = decide_lifecycle(candidates, rule.lifecycle_in(vault), now, complete=True, zone=rule.zone)
        return point.hold is not None or any(each.keep for each in verdicts if each.id == point.id)


def _later(point: RecoveryPoint, vault: str, now: datetime) -> tuple[Write, ...]:
    """Return the writes that check a copy again later, because its original is not available now."""
    return due_copies.due(point, vault, replace(point.due[vault], at=now + LOOKS_AGAIN_AFTER))


def _belongs_in(point: RecoveryPoint, vault: str) -> bool:
    return vault in point.available_in() or vault in point.due
