"""The routes of the API, each declared once: where it is, what it reads and answers, and when it refuses.

Requests are checked by these models; the tables of docs/api.md and `openapi.json` are made from them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Generic, TypeVar

from pydantic import Field

from chalicelib.backup.requests import BackupOrder
from chalicelib.catalog.values import Count, Flag, RegionName, Remark, VaultName
from chalicelib.insight.finding_answers import FindingPage
from chalicelib.insight.job_answers import JobAnswer, JobPage, JobsAnswer
from chalicelib.insight.plan_page import PlanPage
from chalicelib.insight.point_answers import PointAnswer, PointPage
from chalicelib.insight.queries import (
    FindingQuery,
    JobQuery,
    PlanQuery,
    PointQuery,
    ReadinessQuery,
    StatusQuery,
)
from chalicelib.insight.readiness import ReadinessPage
from chalicelib.insight.restore_answers import RestoreAnswer, RestorePreview
from chalicelib.insight.status import StatusPage
from chalicelib.plans.declared import Declared, Fault, Maybe
from chalicelib.plans.model import Plan
from chalicelib.recovery.restores import RestoreOrder
from chalicelib.replication.requests import CopyOrder
from chalicelib.triggers.plan_answers import PlanPreview, RemovedPlanAnswer, StoredPlan

Q = TypeVar("Q", bound=Declared)
B = TypeVar("B", bound=Declared)


class Nothing(Declared):
    """No parameter, or no key."""


class PutPlanQuery(Declared):
    """How a plan is stored."""

    dry_run: Annotated[Flag, Field(description="store nothing, and answer what would be done")] = False
    confirm: Annotated[
        Maybe[Count],
        Field(
            description="store a plan that lets much go: the number of recovery points that go", examples=[3]
        ),
    ] = None


class ReasonOrder(Declared):
    """Why something is done to a recovery point."""

    reason: Annotated[Remark, Field(description="shown with the point")]


class InventoryOrder(Declared):
    """Which inventories are taken: of all places, or of one."""

    region: Annotated[Maybe[RegionName], Field(description="only of this region")] = None
    vault: Annotated[Maybe[VaultName], Field(description="only of this vault")] = None

    @classmethod
    def ties(cls, given: Mapping[str, Any], context: Any) -> Iterator[Fault]:
        """Yield that one place is a region or a vault."""
        if "region" in given and "vault" in given:
            yield ("vault",), "a region or a vault, not both"


@dataclass(frozen=True, slots=True)
class Route(Generic[Q, B]):
    """A route. `answers` are the models of its good answers with their status (None: an empty one).

    `wrong` (400), `missing` (404) and `refused` (409) say when it refuses, beside what all routes share;
    `once` says that an `Idempotency-Key` has it done once.
    """

    method: str
    path: str
    summary: str
    answers: tuple[tuple[HTTPStatus, type[Declared] | None], ...]
    query: type[Q]
    body: type[B]
    missing: str = ""
    refused: str = ""
    wrong: str = ""
    once: bool = False

    @property
    def name(self) -> str:
        """What names it in one line."""
        return f"{self.method} {self.path}"

    @property
    def has_body(self) -> bool:
        """Whether it reads a body."""
        return self.body is not Nothing


OK, ACCEPTED = HTTPStatus.OK, HTTPStatus.ACCEPTED
_POINT = "/recovery-points/{point_id}"
_NO_PLAN, _NO_JOB, _NO_POINT = "no such plan", "no such job", "no such recovery point"

PUT_PLAN = Route(
    "PUT",
    "/plans/{name}",
    "stores a plan, or shows what it would do",
    ((OK, StoredPlan), (OK, PlanPreview)),
    PutPlanQuery,
    Plan,
    wrong="every fault of the plan",
    refused="more goes than was confirmed",
)
GET_PLAN = Route("GET", "/plans/{name}", "shows a plan", ((OK, Plan),), Nothing, Nothing, missing=_NO_PLAN)
LIST_PLANS = Route("GET", "/plans", "lists plans", ((OK, PlanPage),), PlanQuery, Nothing)
DELETE_PLAN = Route(
    "DELETE",
    "/plans/{name}",
    "removes a plan; its recovery points stay",
    ((OK, RemovedPlanAnswer),),
    Nothing,
    Nothing,
    missing=_NO_PLAN,
)
POST_BACKUPS = Route(
    "POST",
    "/backups",
    "backs up now",
    ((ACCEPTED, JobsAnswer),),
    Nothing,
    BackupOrder,
    wrong="an unknown rule, with those there are; an instance that the plan does not select",
    missing=_NO_PLAN,
    refused="the plan selects no instance now",
    once=True,
)
LIST_JOBS = Route("GET", "/jobs", "lists jobs", ((OK, JobPage),), JobQuery, Nothing)
GET_JOB = Route("GET", "/jobs/{job_id}", "shows a job", ((OK, JobAnswer),), Nothing, Nothing, missing=_NO_JOB)
POST_CANCEL = Route(
    "POST",
    "/jobs/{job_id}/cancel",
    "ends a job and cleans up after it",
    ((ACCEPTED, JobsAnswer),),
    Nothing,
    Nothing,
    missing=_NO_JOB,
    refused="it is over already",
    once=True,
)
LIST_POINTS = Route(
    "GET", "/recovery-points", "lists recovery points", ((OK, PointPage),), PointQuery, Nothing
)
GET_POINT = Route(
    "GET", _POINT, "shows a recovery point", ((OK, PointAnswer),), Nothing, Nothing, missing=_NO_POINT
)
POST_COPIES = Route(
    "POST",
    f"{_POINT}/copies",
    "copies a recovery point into another vault",
    ((ACCEPTED, JobsAnswer),),
    Nothing,
    CopyOrder,
    wrong="not a vault for copies, or not for this kind",
    missing=_NO_POINT,
    refused="it is there already or on its way there, or it is not in `primary` any more",
    once=True,
)
POST_RESTORES = Route(
    "POST",
    "/restores",
    "restores a service or volumes, or shows what that would do",
    ((ACCEPTED, RestoreAnswer), (OK, RestorePreview)),
    Nothing,
    RestoreOrder,
    wrong="the target, with what would be right; a rule without `restore`; a vault that is not configured",
    missing="no such point, none that can be restored by then, not in that vault",
    refused="the point failed or is gone, several plans have such points, or a restore onto it is under way",
    once=True,
)
DELETE_POINT = Route(
    "DELETE",
    _POINT,
    "deletes a recovery point, guarded",
    ((ACCEPTED, JobsAnswer),),
    Nothing,
    Nothing,
    missing=_NO_POINT,
    refused="it is the newest good point of its lineage, is held, or is needed by a job",
)
PUT_HOLD = Route(
    "PUT",
    f"{_POINT}/hold",
    "keeps a recovery point whatever its lifecycle says",
    ((OK, PointAnswer),),
    Nothing,
    ReasonOrder,
    missing=_NO_POINT,
    refused="the point is being made or deleted, or is deleted or failed",
)
DELETE_HOLD = Route(
    "DELETE",
    f"{_POINT}/hold",
    "lets its lifecycle decide again",
    ((HTTPStatus.NO_CONTENT, None),),
    Nothing,
    Nothing,
    missing=_NO_POINT,
    refused="it is not held",
)
PUT_CONFIRMATION = Route(
    "PUT",
    f"{_POINT}/confirmation",
    "has a suspect point count as a good one",
    ((OK, PointAnswer),),
    Nothing,
    ReasonOrder,
    missing=_NO_POINT,
    refused="it is not suspect, or can be restored nowhere",
)
POST_UNDELETE = Route(
    "POST",
    f"{_POINT}/undelete",
    "takes back what was let go",
    ((OK, PointAnswer),),
    Nothing,
    Nothing,
    missing=_NO_POINT,
    refused="it can be taken back in no vault",
)
GET_STATUS = Route(
    "GET", "/status", "shows how each service stands", ((OK, StatusPage),), StatusQuery, Nothing
)
GET_READINESS = Route(
    "GET",
    "/readiness",
    "checks whether each service could be brought back now",
    ((OK, ReadinessPage),),
    ReadinessQuery,
    Nothing,
)
GET_INVENTORY = Route(
    "GET",
    "/inventory",
    "lists where the catalog and the world differ",
    ((OK, FindingPage),),
    FindingQuery,
    Nothing,
)
POST_INVENTORY = Route(
    "POST",
    "/inventory",
    "compares them now",
    ((ACCEPTED, JobsAnswer),),
    Nothing,
    InventoryOrder,
    wrong="an unknown region or vault",
    once=True,
)
GET_OPENAPI = Route(
    "GET", "/openapi.json", "describes the API for programs (OpenAPI 3.1)", ((OK, None),), Nothing, Nothing
)

AnyRoute = Route[Any, Any]
ROUTES: tuple[AnyRoute, ...] = (
    PUT_PLAN,
    GET_PLAN,
    LIST_PLANS,
    DELETE_PLAN,
    POST_BACKUPS,
    LIST_JOBS,
    GET_JOB,
    POST_CANCEL,
    LIST_POINTS,
    GET_POINT,
    POST_COPIES,
    POST_RESTORES,
    DELETE_POINT,
    PUT_HOLD,
    DELETE_HOLD,
    PUT_CONFIRMATION,
    POST_UNDELETE,
    GET_STATUS,
    GET_READINESS,
    GET_INVENTORY,
    POST_INVENTORY,
    GET_OPENAPI,
)
