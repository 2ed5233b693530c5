"""Opens copies at an operator's request: of one recovery point into one vault."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from chalicelib.catalog.recovery_point import PointState, RecoveryPoint
from chalicelib.catalog.store import PointStore
from chalicelib.catalog.values import VaultName
from chalicelib.errors import Conflict, InvalidInput, Problem
from chalicelib.jobs.engine import Engine
from chalicelib.jobs.job import AnyRequest, JobId
from chalicelib.jobs.work import CopyMethods, copy_method, copy_request
from chalicelib.plans.declared import Declared
from chalicelib.plans.values import PRIMARY
from chalicelib.plans.words import near

WHAT = "the copy request"


class CopyOrder(Declared):
    """The body of a request for a copy."""

    vault: Annotated[VaultName, Field(description="the vault that the point is copied into")]


@dataclass(frozen=True, slots=True)
class CopyRequests:
    """Opens copies at an operator's request; `methods` has, by vault name, how copies are made."""

    engine: Engine
    points: PointStore
    methods: CopyMethods

    def open(self, point_id: str, order: CopyOrder, key: str) -> tuple[JobId, ...]:
        """Open the copy of a point; the same `key` always gives the same job.

        Raises:
            NotFound: there is no such point. InvalidInput: there is no such vault to copy into, or it cannot
            hold this kind of point. Conflict: the point has no original to copy from, or it is in the vault
            already or being copied there.
        """
        point, vault = self.points.require(point_id), order.vault
        self._require_vault(point, vault)
        _require_copyable(point, vault)
        method = copy_method(self.methods, point.kind, vault)
        request = copy_request(point, vault, method, cause=key, due=False)
        self._require_no_other(point, vault, request)
        return self.engine.open([request])

    def _require_vault(self, point: RecoveryPoint, vault: str) -> None:
        others = sorted(name for name in self.methods if name != PRIMARY)
        if vault not in others:
            expected = f"a configured vault{near(vault, others)}; there are {', '.join(others) or 'none'}"
            raise InvalidInput(WHAT, [Problem("/vault", vault, expected)])
        if point.kind not in self.methods[vault]:
            holding = ", ".join(name for name in others if point.kind in self.methods[name])
            expected = f"a vault that holds points of kind {point.kind}: {holding or 'there is none'}"
            raise InvalidInput(WHAT, [Problem("/vault", vault, expected)])

    def _require_no_other(self, point: RecoveryPoint, vault: str, request: AnyRequest) -> None:
        pinned = sorted(job for job in point.pins.get(PRIMARY, ()) if job != request.id)
        for job in self.engine.jobs.get_many(pinned).values():
            if getattr(job.work, "vault", None) == vault and job.kind == request.kind and not job.state.final:
                why = f"{job.id} copies it into {vault} already"
                raise Conflict(why, operation="copying", resource=point.id)


def _require_copyable(point: RecoveryPoint, vault: str) -> None:
    left, why = point.in_vault(vault), ""
    if PRIMARY not in point.available_in():
        why = f"it is {point.state} and not in {PRIMARY}"
    elif vault in point.available_in():
        why = f"it is in {vault} already"
    elif left is not None and left.state is PointState.EXPIRED:
        why = f"its remains in {vault} are being deleted"
    if why:
        raise Conflict(why, operation="copying", resource=point.id)
