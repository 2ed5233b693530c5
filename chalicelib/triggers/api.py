"""The API: JSON over API Gateway, with IAM auth. Each route reads its input, calls one function, answers.

Requests and answers are declared in `routes` and documented in docs/api.md.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from http import HTTPStatus
from importlib.resources import files
from typing import Any

from chalice.app import Blueprint, IAMAuthorizer, Request, Response

from chalicelib.backup.requests import BackupOrder
from chalicelib.errors import InvalidInput, Problem
from chalicelib.insight.doctor import DoctorAnswer, ExaminationAnswer
from chalicelib.insight.finding_answers import FindingPage
from chalicelib.insight.job_answers import JobAnswer, JobPage, JobsAnswer
from chalicelib.insight.plan_page import PlanPage
from chalicelib.insight.point_answers import PointAnswer, PointPage, point_answer
from chalicelib.insight.queries import (
    FindingQuery,
    JobQuery,
    PlanQuery,
    PointQuery,
    ReadinessQuery,
    StatusQuery,
)
from chalicelib.insight.readiness import ReadinessPage
from chalicelib.insight.restore_answers import RestoreAnswer, RestorePreview, restore_answer, restore_preview
from chalicelib.insight.start_answers import StartPreview, start_preview
from chalicelib.insight.status import StatusPage
from chalicelib.jobs.job import JobId
from chalicelib.plans.declared import Declared
from chalicelib.plans.model import Plan, parse_plan
from chalicelib.plans.words import shown
from chalicelib.recovery.restores import RestoreOrder
from chalicelib.recovery.start_requests import StartOrder
from chalicelib.replication.requests import CopyOrder
from chalicelib.triggers import routes
from chalicelib.triggers.http import ANY_CONTENT, JSON, Asked, answer, answering, no_content, status_of
from chalicelib.triggers.idempotency import idempotent, request_identity
from chalicelib.triggers.plan_answers import (
    PlanPreview,
    RemovedPlanAnswer,
    StoredPlan,
    plan_preview,
    removed_plan_answer,
    stored_plan,
)
from chalicelib.triggers.routes import (
    B,
    DoctorOrder,
    InventoryOrder,
    Nothing,
    PutPlanQuery,
    Q,
    ReasonOrder,
    Route,
)
from chalicelib.wiring import farshore

blueprint = Blueprint(__name__)
SIGNED = IAMAuthorizer()
OPENAPI = "openapi.json"


def _request() -> Request:
    request: Request = blueprint.current_request
    return request


def serves(
    route: Route[Q, B], read_body: Callable[[Any, Mapping[str, str]], B] | None = None
) -> Callable[[Callable[[Asked[Q, B]], Declared | None]], Callable[..., Response]]:
    """Return a decorator: the function answers a route, once per `Idempotency-Key` if so declared."""

    def served(function: Callable[[Asked[Q, B]], Declared | None]) -> Callable[..., Response]:
        @wraps(function)
        def handled(asked: Asked[Q, B]) -> Response:
            def work() -> tuple[HTTPStatus, Any]:
                answered = function(asked)
                document = answered.document() if answered is not None else None
                return status_of(route, answered), document

            status, document = idempotent(farshore(), asked.request, work) if route.once else work()
            return answer(document, status) if document is not None else no_content()

        return _registered(route, answering(route, handled, _request, read_body))

    return served


def _registered(route: Route[Any, Any], view: Callable[..., Response]) -> Callable[..., Response]:
    add = blueprint.route(route.path, methods=[route.method], authorizer=SIGNED, content_types=ANY_CONTENT)
    registered: Callable[..., Response] = add(view)
    return registered


def _identity(asked: Asked[Any, Any]) -> str:
    """Return what makes a request unique."""
    return request_identity(farshore(), asked.request)


def _opened(jobs: Iterable[JobId]) -> JobsAnswer:
    return JobsAnswer(jobs=tuple(jobs))


@serves(routes.LIST_PLANS)
def list_plans(asked: Asked[PlanQuery, Nothing]) -> PlanPage:
    """Return a page of plans."""
    return farshore().lists.plans(asked.query)


@serves(routes.GET_PLAN)
def get_plan(asked: Asked[Nothing, Nothing]) -> Plan:
    """Return a plan."""
    return farshore().plans.require(asked.names["name"]).plan


def _plan_of(document: Any, names: Mapping[str, str]) -> Plan:
    """Return the plan that is put under a name; its document may leave the name out."""
    app, named = farshore(), {"name": names["name"], **document}
    if named["name"] != names["name"]:
        expected = f"the name in the path, {names['name']!r}"
        raise InvalidInput("the plan", [Problem("/name", shown(named["name"]), expected)])
    return parse_plan(named, vaults=app.settings.copy_methods, now=app.now())


@serves(routes.PUT_PLAN, _plan_of)
def put_plan(asked: Asked[PutPlanQuery, Plan]) -> PlanPreview | StoredPlan:
    """Store a plan, or with `?dry_run=true` return what it would do."""
    app = farshore()
    if asked.query.dry_run:
        change = app.plan_changes.planned(asked.body)
        return plan_preview(change, app.wrong_hooks(change.plan, change.covered), app.now())
    change = app.plan_changes.store(asked.body, asked.query.confirm)
    return stored_plan(change, app.wrong_hooks(change.plan, change.covered), app.now())


@serves(routes.DELETE_PLAN)
def delete_plan(asked: Asked[Nothing, Nothing]) -> RemovedPlanAnswer:
    """Remove a plan; its recovery points stay, and the answer lists them."""
    return removed_plan_answer(farshore().plan_changes.remove(asked.names["name"]))


@serves(routes.POST_BACKUPS)
def post_backups(asked: Asked[Nothing, BackupOrder]) -> JobsAnswer:
    """Back up now."""
    return _opened(farshore().backup_requests.open(asked.body, _identity(asked)))


@serves(routes.LIST_JOBS)
def list_jobs(asked: Asked[JobQuery, Nothing]) -> JobPage:
    """Return a page of jobs, newest first."""
    return farshore().lists.jobs(asked.query)


@serves(routes.GET_JOB)
def get_job(asked: Asked[Nothing, Nothing]) -> JobAnswer:
    """Return a job."""
    return farshore().lists.job(asked.names["job_id"])


@serves(routes.POST_CANCEL)
def post_cancel(asked: Asked[Nothing, Nothing]) -> JobsAnswer:
    """End a job and clean up after it."""
    job = JobId(asked.names["job_id"])
    farshore().engine.cancel(job, "cancelled through the API")
    return _opened([job])


@serves(routes.LIST_POINTS)
def list_recovery_points(asked: Asked[PointQuery, Nothing]) -> PointPage:
    """Return a page of recovery points, newest first."""
    return farshore().lists.points(asked.query)


@serves(routes.GET_POINT)
def get_recovery_point(asked: Asked[Nothing, Nothing]) -> PointAnswer:
    """Return a recovery point."""
    return point_answer(farshore().points.require(asked.names["point_id"]))


@serves(routes.DELETE_POINT)
def delete_recovery_point(asked: Asked[Nothing, Nothing]) -> JobsAnswer:
    """Delete a recovery point in every vault, unless it is the newest good one or a job needs it."""
    return _opened(farshore().deletions.open(asked.names["point_id"]))


@serves(routes.PUT_HOLD)
def put_hold(asked: Asked[Nothing, ReasonOrder]) -> PointAnswer:
    """Keep a recovery point whatever its lifecycle says."""
    return point_answer(farshore().holds.hold(asked.names["point_id"], asked.body.reason))


@serves(routes.DELETE_HOLD)
def delete_hold(asked: Asked[Nothing, Nothing]) -> None:
    """Release the hold of a recovery point: its lifecycle decides again."""
    farshore().holds.release(asked.names["point_id"])


@serves(routes.PUT_CONFIRMATION)
def put_confirmation(asked: Asked[Nothing, ReasonOrder]) -> PointAnswer:
    """Make a suspect recovery point count as good."""
    return point_answer(farshore().holds.confirm(asked.names["point_id"], asked.body.reason))


@serves(routes.POST_UNDELETE)
def post_undelete(asked: Asked[Nothing, Nothing]) -> PointAnswer:
    """Undelete a recovery point that was let go, and hold it."""
    return point_answer(farshore().holds.undelete(asked.names["point_id"]))


@serves(routes.POST_COPIES)
def post_copies(asked: Asked[Nothing, CopyOrder]) -> JobsAnswer:
    """Copy a recovery point into another vault."""
    return _opened(farshore().copy_requests.open(asked.names["point_id"], asked.body, _identity(asked)))


@serves(routes.POST_RESTORES)
def post_restores(asked: Asked[Nothing, RestoreOrder]) -> RestoreAnswer | RestorePreview:
    """Restore a recovery point, or with `dry_run` return what that would do."""
    planned = farshore().restores.open(asked.body, _identity(asked))
    if asked.body.dry_run:
        return restore_preview(planned.request, planned.refs, planned.script_rule)
    return restore_answer(planned.jobs, planned.request, planned.refs)


@serves(routes.POST_LAUNCHES)
def post_launches(asked: Asked[Nothing, StartOrder]) -> JobsAnswer | StartPreview:
    """Start instances for a service from its backups, or with `dry_run` return what that would do."""
    planned = farshore().starts.open(asked.body, _identity(asked))
    if asked.body.dry_run:
        point = planned.point
        return start_preview(planned.request, planned.rule, planned.vcpus, point.created_at, planned.age)
    return _opened(planned.jobs)


@serves(routes.GET_STATUS)
def status(asked: Asked[StatusQuery, Nothing]) -> StatusPage:
    """Return the status of each service of each plan."""
    return farshore().lists.status(asked.query)


@serves(routes.GET_READINESS)
def readiness(asked: Asked[ReadinessQuery, Nothing]) -> ReadinessPage:
    """Check whether each service of each plan could be brought back now."""
    return farshore().lists.readiness(asked.query)


@serves(routes.GET_INVENTORY)
def inventory(asked: Asked[FindingQuery, Nothing]) -> FindingPage:
    """Return a page of differences between the catalog and what exists."""
    return farshore().lists.findings(asked.query)


@serves(routes.POST_INVENTORY)
def post_inventory(asked: Asked[Nothing, InventoryOrder]) -> JobsAnswer:
    """Take an inventory now, of all places or of one."""
    return _opened(farshore().inventories.open(_identity(asked), asked.body.region, asked.body.vault))


@serves(routes.GET_DOCTOR)
def doctor(asked: Asked[Nothing, Nothing]) -> DoctorAnswer:
    """Check whether the stage can do its work."""
    return farshore().doctor.examine()


@serves(routes.POST_DOCTOR)
def post_doctor(asked: Asked[Nothing, DoctorOrder]) -> ExaminationAnswer:
    """Begin what examines the stage by doing something, and a canary backup if one is asked for."""
    app, cause, canary = farshore(), _identity(asked), asked.body.canary
    jobs = app.backup_requests.open(canary, cause) if canary is not None else ()
    probes = app.examinations.begin(cause)
    return ExaminationAnswer(probes=probes, regions=app.examinations.stage.away, canary=tuple(jobs))


def _openapi(_: Asked[Nothing, Nothing]) -> Response:
    """Return the OpenAPI document of the API."""
    text = files("chalicelib.triggers").joinpath(OPENAPI).read_text(encoding="utf-8")
    return Response(text, {"Content-Type": JSON})


get_openapi = _registered(routes.GET_OPENAPI, answering(routes.GET_OPENAPI, _openapi, _request))
