"""Declares the routes of the API, each once: its path, request and answers, and when it refuses.

Requests are checked against these models; the tables of docs/api.md and `openapi.json` are made from them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Generic, TypeVar

from pydantic import Field

from chalicelib.backup.requests import BackupOrder
from chalicelib.catalog.values import Count, Flag, RegionName, Remark, VaultName
from chalicelib.insight.doctor import DoctorAnswer, ExaminationAnswer
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
from chalicelib.insight.start_answers import StartPreview
from chalicelib.insight.status import StatusPage
from chalicelib.plans.declared import Declared, Fault, Maybe
from chalicelib.plans.model import Plan
from chalicelib.recovery.restores import RestoreOrder
from chalicelib.recovery.start_requests import StartOrder
from chalicelib.replication.requests import CopyOrder
from chalicelib.triggers.plan_answers import PlanPreview, RemovedPlanAnswer, StoredPlan

Q = TypeVar("Q", bound=Declared)
B = TypeVar("B", bound=Declared)


class Nothing(Declared):
    """A query without parameters, or a request without a body."""


class PutPlanQuery(Declared):
    """How a plan is stored."""

    dry_run: Annotated[Flag, Field(description="store nothing; answer with what would be done")] = False
    confirm: Annotated[
        Maybe[Count],
        Field(
            description="store a plan that lets many points go: their number, as the refusal says it",
            examples=[3],
        ),
    ] = None


class ReasonOrder(Declared):
    """Why an operator changes a recovery point."""

    reason: Annotated[Remark, Field(description="shown with the point")]


class InventoryOrder(Declared):
    """Which inventories are taken: of all places, or of one."""

    region: Annotated[Maybe[RegionName], Field(description="only of this region")] = None
    vault: Annotated[Maybe[VaultName], Field(description="only of this vault")] = None

    @classmethod
    def ties(cls, given: Mapping[str, Any], context: Any) -> Iterator[Fault]:
        """Yield a fault if both a region and a vault are given."""
        if "region" in given and "vault" in given:
            yield ("vault",), "a region or a vault, not both"


class DoctorOrder(Declared):
    """What an examination does besides probing vaults and sending events."""

    canary: Annotated[
        Maybe[BackupOrder],
        Field(description="back this up now, as `POST /backups` does, to see that it can be restored"),
    ] = None


@dataclass(frozen=True, slots=True)
class Route(Generic[Q, B]):
    """A route. `answers` are its successful statuses with the models of their answers (None: an empty one).

    `wrong` (400), `missing` (404) and `refused` (409) say when it refuses, in addition to what all routes
    share. With `once`, an `Idempotency-Key` makes it idempotent.
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
        """The method and path."""
        return f"{self.method} {self.path}"

    @property
    def has_body(self) -> bool:
        """Whether the route reads a body."""
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
    refused="it lets more points go than were confirmed",
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
    wrong="an unknown rule, with the known ones; an instance that the plan does not select",
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
    refused="it is there already or being copied there, or it is no longer in `primary`",
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
POST_LAUNCHES = Route(
    "POST",
    "/launches",
    "starts instances for a service from its backups, or shows what that would do",
    ((ACCEPTED, JobsAnswer), (OK, StartPreview)),
    Nothing,
    StartOrder,
    wrong="a rule without `restore`; a launch template, type, zone or subnet that is not there; tags with "
    "which the plan would not select the instances",
    missing="no plan has this service, or no such plan",
    refused="several plans have this service, or it has no good point to restore",
    once=True,
)
DELETE_POINT = Route(
    "DELETE",
    _POINT,
    "deletes a recovery point, unless it is the newest good one",
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
    "releases the hold: the lifecycle decides again",
    ((HTTPStatus.NO_CONTENT, None),),
    Nothing,
    Nothing,
    missing=_NO_POINT,
    refused="it is not held",
)
PUT_CONFIRMATION = Route(
    "PUT",
    f"{_POINT}/confirmation",
    "makes a suspect point count as good",
    ((OK, PointAnswer),),
    Nothing,
    ReasonOrder,
    missing=_NO_POINT,
    refused="it is not suspect, or can be restored nowhere",
)
POST_UNDELETE = Route(
    "POST",
    f"{_POINT}/undelete",
    "undeletes a point that was let go",
    ((OK, PointAnswer),),
    Nothing,
    Nothing,
    missing=_NO_POINT,
    refused="it can be undeleted in no vault",
)
GET_STATUS = Route(
    "GET", "/status", "shows the status of each service", ((OK, StatusPage),), StatusQuery, Nothing
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
    "lists the differences between the catalog and what exists",
    ((OK, FindingPage),),
    FindingQuery,
    Nothing,
)
POST_INVENTORY = Route(
    "POST",
    "/inventory",
    "takes an inventory now",
    ((ACCEPTED, JobsAnswer),),
    Nothing,
    InventoryOrder,
    wrong="an unknown region or vault",
    once=True,
)
GET_DOCTOR = Route(
    "GET", "/doctor", "checks whether the stage can do its work", ((OK, DoctorAnswer),), Nothing, Nothing
)
POST_DOCTOR = Route(
    "POST",
    "/doctor",
    "probes vaults and events, for `GET /doctor` to report; backs up a canary if asked to",
    ((ACCEPTED, ExaminationAnswer),),
    Nothing,
    DoctorOrder,
    wrong="a canary that `POST /backups` would refuse",
    missing="the canary's plan does not exist",
    refused="the canary's plan selects no instance now",
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
    POST_LAUNCHES,
    DELETE_POINT,
    PUT_HOLD,
    DELETE_HOLD,
    PUT_CONFIRMATION,
    POST_UNDELETE,
    GET_STATUS,
    GET_READINESS,
    GET_INVENTORY,
    POST_INVENTORY,
    GET_DOCTOR,
    POST_DOCTOR,
    GET_OPENAPI,
)
