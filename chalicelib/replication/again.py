"""Makes copies again that failed, until they are there or no longer wanted.

A copy is wanted as long as its plan has the rule, the rule names the vault, the original is there, and the
vault's own lifecycle would keep it beside the points that are or should be there. Until then the original is
not let go (its point's `due`).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from chalicelib.catalog.recovery_point import DueCopy, RecoveryPoint
from chalicelib.catalog.store import PlanStore, PointStore, Table, points
from chalicelib.catalog.store.writes import Write
from chalicelib.errors import Conflict, FarshoreError
from chalicelib.jobs.engine import Engine
from chalicelib.jobs.work import copy_method, copy_request
from chalicelib.observability import count, logger
from chalicelib.plans.lifecycle import Point, decide_lifecycle
from chalicelib.plans.model import Rule
from chalicelib.replication.point_copy import SOURCE_VAULT, no_longer_due


@dataclass(frozen=True, slots=True)
class CopiesAgain:
    """Opens copies again. `now` is the clock, `vault_kinds` tells how each vault is filled."""

    engine: Engine
    table: Table
    plans: PlanStore
    points: PointStore
    vault_kinds: Mapping[str, str]
    now: Callable[[], datetime]

    def open(self, point_ids: Iterable[str]) -> None:
        """Open the copies of these points that are due now.

        Raises:
            FarshoreError: one could not be opened now; the others were, and it is to be tried again.
        """
        later: FarshoreError | None = None
        for point_id in point_ids:
            try:
                self._open(point_id)
            except FarshoreError as error:
                logger().warning("copy not opened", extra={"point": point_id, "error": str(error)})
                count("CopyNotOpened")
                later = error
        if later is not None:
            raise later

    def _open(self, point_id: str) -> None:
        now, point = self.now(), self.points.get(point_id)
        if point is None:
            return
        stored = self.plans.get(point.plan)
        rule = stored.plan.rule(point.rule) if stored else None
        vaults = [vault for vault, due in point.due.items() if due.at is not None and due.at <= now]
        for vault in vaults:
            wanted = self._is_wanted(point, rule, vault, now)
            writes = self._begun(point, vault) if wanted else list(no_longer_due(point, vault))
            if self.table.commit(writes):
                return  # it has changed since it was read: the next tick reads it again
            point = self.points.get(point_id) or point

    def _begun(self, point: RecoveryPoint, vault: str) -> list[Write]:
        """Open a copy; return what notes it: from here on it is the job that says when to try again."""
        due = point.due[vault]
        method = copy_method(point.kind, self.vault_kinds.get(vault, "s3"))
        try:
            self.engine.open([copy_request(point, vault, method, tries=due.tries)])
        except Conflict:  # the original is gone meanwhile
            return list(no_longer_due(point, vault))
        return [points.expecting(point, vault, DueCopy(due.tries, None))]

    def _is_wanted(self, point: RecoveryPoint, rule: Rule | None, vault: str, now: datetime) -> bool:
        if rule is None or rule.kind is not point.kind or vault not in rule.vaults:
            return False
        if SOURCE_VAULT not in point.available_in() or vault in point.available_in():
            return False
        beside = [each for each in self.points.of_lineage(point.lineage) if _belongs_in(each, vault)]
        candidates = [
            Point(each.id, each.created_at, good=True, pool=each.pool, kept_until=each.keep_until)
            for each in beside
        ]
        verdicts = decide_lifecycle(candidates, rule.lifecycle_in(vault), now, complete=True)
        return point.hold is not None or any(each.keep for each in verdicts if each.id == point.id)


def _belongs_in(point: RecoveryPoint, vault: str) -> bool:
    return vault in point.available_in() or vault in point.due
