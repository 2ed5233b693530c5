"""The API: JSON over API Gateway, signed by IAM. Each route reads its input, asks one part, answers.

What may be asked and what is answered is in docs/api.md.
"""

from dataclasses import replace
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from chalice.app import Blueprint, IAMAuthorizer, Request, Response

from chalicelib.backup.due_backups import covered_by
from chalicelib.catalog.recovery_point import STATES_OF_POINTS, RecoveryPoint
from chalicelib.catalog.store.findings import FindingKind
from chalicelib.errors import Conflict, InvalidInput, NotFound, Problem
from chalicelib.insight.documents import (
    finding_document,
    job_document,
    point_document,
    restore_preview,
    volumes_document,
)
from chalicelib.insight.preview import preview, warnings_of
from chalicelib.jobs.job import AnyRequest, JobKind, JobState
from chalicelib.plans.model import Kind, Plan, parse_plan
from chalicelib.retention.deletion import DeletionContext, deletion_request, guard
from chalicelib.retention.forecast import left_behind
from chalicelib.triggers import asked, standing
from chalicelib.triggers.forecasts import forecast_document, require_confirmed, stays_document
from chalicelib.triggers.http import (
    ANY_CONTENT,
    answer,
    answering,
    body_of,
    flag_of,
    limit_of,
    no_content,
    page_of,
    query_of,
)
from chalicelib.triggers.idempotency import idempotent, request_identity
from chalicelib.wiring import farshore

blueprint = Blueprint(__name__)
SIGNED = IAMAuthorizer()


def _request() -> Request:
    request: Request = blueprint.current_request
    return request


@blueprint.route("/plans", methods=["GET"], authorizer=SIGNED)
@answering
def list_plans() -> Response:
    """List the plans."""
    query = query_of(_request(), "limit", "cursor")
    named = {stored.plan.name: stored.plan.document() for stored in farshore().plans.all()}
    return answer(page_of(named, query))


@blueprint.route("/plans/{name}", methods=["GET"], authorizer=SIGNED)
@answering
def get_plan(name: str) -> Response:
    """Show a plan."""
    query_of(_request())
    return answer(_plan(unquote(name)).document())


@blueprint.route("/plans/{name}", methods=["PUT"], authorizer=SIGNED, content_types=ANY_CONTENT)
@answering
def put_plan(name: str) -> Response:
    """Store a plan, or with `?dry_run=true` show what it would do.

    One that lets more than a quarter of a lineage go is stored only with `?confirm=` and how many go.
    """
    app, request = farshore(), _request()
    query = query_of(request, "dry_run", "confirm")
    dry_run, confirmed = flag_of(query, "dry_run"), asked.number_of(query, "confirm")
    document = {"name": unquote(name), **body_of(request)}
    if document["name"] != unquote(name):
        expected = f"the name in the path, {unquote(name)!r}"
        raise InvalidInput("the plan", [Problem("/name", document["name"], expected)])
    plan = parse_plan(document, vaults=app.vault_kinds, now=app.now())
    covered = covered_by(plan, app.home_ec2)
    stored = app.plans.get(plan.name)
    forecast = app.forecaster.of(plan, stored.plan if stored else None)
    would = forecast_document(forecast)
    if dry_run:
        shown = preview(plan, covered.services, covered.without_service, app.now())
        return answer({**shown, **would, "confirm": forecast.confirm})
    require_confirmed(forecast, plan.name, confirmed)
    app.plans.put(plan, app.now())
    app.inventories.schedule()
    app.services.note_selected(plan.name, covered.services, app.now())
    warnings = warnings_of(plan, covered.services, covered.without_service, app.now())
    return answer({**plan.document(), "warnings": warnings, **would})


@blueprint.route("/plans/{name}", methods=["DELETE"], authorizer=SIGNED)
@answering
def delete_plan(name: str) -> Response:
    """Remove a plan; its recovery points stay, and are told."""
    query_of(_request())
    app = farshore()
    stays = left_behind(app.services.lineages(unquote(name)), None)
    if not app.plans.delete(unquote(name)):
        raise _no_plan(unquote(name))
    return answer({"stays_behind": stays_document(stays)})


BACKUP_KEYS = frozenset({"plan", "rule", "instance_ids", "keep", "note"})


@blueprint.route("/backups", methods=["POST"], authorizer=SIGNED, content_types=ANY_CONTENT)
@answering
def post_backups() -> Response:
    """Back up now."""
    app, request = farshore(), _request()
    query_of(request)
    body = body_of(request, known=BACKUP_KEYS, required=("plan",))
    wanted = asked.BackupsAsked.read(body)

    def work() -> Any:
        opened = asked.open_backups(app, wanted, _plan(wanted.plan), request_identity(app, request))
        return {"jobs": list(opened)}

    return idempotent(app, request, work, HTTPStatus.ACCEPTED)


@blueprint.route("/jobs", methods=["GET"], authorizer=SIGNED)
@answering
def list_jobs() -> Response:
    """List jobs, newest first."""
    query = query_of(_request(), "service", "plan", "kind", "state", "limit", "cursor")
    asked.check_one_of(query, "kind", JobKind)
    asked.check_one_of(query, "state", JobState)
    filters = {name: text for name, text in query.items() if name not in ("limit", "cursor")}
    page = farshore().jobs.list(filters=filters, limit=limit_of(query), cursor=query.get("cursor"))
    return answer({"items": [job_document(job) for job in page.items], "cursor": page.cursor})


@blueprint.route("/jobs/{job_id}", methods=["GET"], authorizer=SIGNED)
@answering
def get_job(job_id: str) -> Response:
    """Show a job."""
    query_of(_request())
    app = farshore()
    job = app.jobs.get(job_id)
    if job is None:
        raise NotFound("no such job", resource=f"job {job_id}")
    refs, made = asked.refs_of_restore(app, job.work), getattr(job.progress, "made", {})
    return answer({**job_document(job), **volumes_document(job.work, refs, made)})


@blueprint.route("/recovery-points", methods=["GET"], authorizer=SIGNED)
@answering
def list_recovery_points() -> Response:
    """List recovery points, newest first."""
    names = ("service", "plan", "rule", "kind", "state", "vault")
    query = query_of(_request(), *names, "before", "limit", "cursor")
    asked.check_one_of(query, "kind", Kind)
    asked.check_one_of(query, "state", STATES_OF_POINTS)
    page = farshore().points.list(
        filters={name: query[name] for name in names if name in query},
        before=asked.moment_of(query, "before"),
        limit=limit_of(query),
        cursor=query.get("cursor"),
    )
    return answer({"items": [point_document(point) for point in page.items], "cursor": page.cursor})


@blueprint.route("/recovery-points/{point_id}", methods=["GET"], authorizer=SIGNED)
@answering
def get_recovery_point(point_id: str) -> Response:
    """Show a recovery point."""
    query_of(_request())
    return answer(point_document(_point(point_id)))


@blueprint.route("/recovery-points/{point_id}", methods=["DELETE"], authorizer=SIGNED)
@answering
def delete_recovery_point(point_id: str) -> Response:
    """Delete a recovery point in every vault, unless it is the newest good one or a job needs it.

    What is said to be the newest good one is looked at: one that is not there may go.
    """
    query_of(_request())
    app, point = farshore(), _point(point_id)
    stored = app.plans.get(point.plan)
    rule = stored.plan.rule(point.rule) if stored else None
    lineage = app.points.of_lineage(point.lineage)
    context = DeletionContext(lineage, kept_in=rule.vaults if rule else None)
    if guard(point, context) is not None:
        context = replace(context, missing_from=app.artefacts.missing_from(point))
    return answer(_opened(deletion_request(point, context, app.now())), HTTPStatus.ACCEPTED)


@blueprint.route(
    "/recovery-points/{point_id}/hold", methods=["PUT"], authorizer=SIGNED, content_types=ANY_CONTENT
)
@answering
def put_hold(point_id: str) -> Response:
    """Keep a recovery point whatever its lifecycle says."""
    request = _request()
    query_of(request)
    body = body_of(request, known=frozenset({"reason"}), required=("reason",))
    return answer(point_document(farshore().holds.hold(point_id, asked.reason_of(body))))


@blueprint.route("/recovery-points/{point_id}/hold", methods=["DELETE"], authorizer=SIGNED)
@answering
def delete_hold(point_id: str) -> Response:
    """Let a recovery point's lifecycle decide about it again."""
    query_of(_request())
    farshore().holds.release(point_id)
    return no_content()


@blueprint.route(
    "/recovery-points/{point_id}/confirmation", methods=["PUT"], authorizer=SIGNED, content_types=ANY_CONTENT
)
@answering
def put_confirmation(point_id: str) -> Response:
    """Have a suspect recovery point count as a good one."""
    request = _request()
    query_of(request)
    body = body_of(request, known=frozenset({"reason"}), required=("reason",))
    return answer(point_document(farshore().holds.confirm(point_id, asked.reason_of(body))))


@blueprint.route(
    "/recovery-points/{point_id}/undelete", methods=["POST"], authorizer=SIGNED, content_types=ANY_CONTENT
)
@answering
def post_undelete(point_id: str) -> Response:
    """Take a recovery point back that was let go, and hold it."""
    query_of(_request())
    return answer(point_document(farshore().holds.take_back(point_id)))


@blueprint.route(
    "/recovery-points/{point_id}/copies", methods=["POST"], authorizer=SIGNED, content_types=ANY_CONTENT
)
@answering
def post_copies(point_id: str) -> Response:
    """Copy a recovery point into another vault."""
    app, request = farshore(), _request()
    query_of(request)
    body = body_of(request, known=frozenset({"vault"}), required=("vault",))

    def work() -> Any:
        return _opened(asked.copy(app, _point(point_id), body["vault"], request_identity(app, request)))

    return idempotent(app, request, work, HTTPStatus.ACCEPTED)


@blueprint.route("/restores", methods=["POST"], authorizer=SIGNED, content_types=ANY_CONTENT)
@answering
def post_restores() -> Response:
    """Restore a recovery point, or with `dry_run` show what that would do."""
    app, request = farshore(), _request()
    query_of(request)
    known = frozenset({"recovery_point", "service", "rule", "plan", "at", "vault", "target", "dry_run"})
    wanted = asked.RestoreAsked.read(body_of(request, known=known, required=("target",)))

    def work() -> Any:
        planned = asked.restore(app, wanted, request_identity(app, request))
        volumes = volumes_document(planned.work, asked.refs_of_restore(app, planned.work))
        if wanted.dry_run:
            would = restore_preview(planned, asked.rule_of_restore(app, planned))
            return {"jobs": [], "would": {**would, **volumes}}
        return {**_opened(planned), **volumes}

    return idempotent(app, request, work, HTTPStatus.OK if wanted.dry_run else HTTPStatus.ACCEPTED)


@blueprint.route("/jobs/{job_id}/cancel", methods=["POST"], authorizer=SIGNED, content_types=ANY_CONTENT)
@answering
def post_cancel(job_id: str) -> Response:
    """End a job and clean up after it."""
    app, request = farshore(), _request()
    query_of(request)

    def work() -> Any:
        if app.jobs.get(job_id) is None:
            raise NotFound("no such job", resource=f"job {job_id}")
        if not app.engine.cancel(job_id, "cancelled through the API"):
            raise Conflict("it is over already", operation="cancelling", resource=f"job {job_id}")
        return {"jobs": [job_id]}

    return idempotent(app, request, work, HTTPStatus.ACCEPTED)


@blueprint.route("/status", methods=["GET"], authorizer=SIGNED)
@answering
def status() -> Response:
    """Show how each service of each plan stands."""
    app = farshore()
    query = query_of(_request(), "service", "plan", "limit", "cursor")
    wanted = standing.StatusAsked(query.get("plan"), query.get("service"), query.get("cursor"))
    items, cursor = standing.services(app, wanted, limit_of(query))
    return answer({"items": items, "cursor": cursor})


@blueprint.route("/inventory", methods=["GET"], authorizer=SIGNED)
@answering
def inventory() -> Response:
    """List where the catalog and the world differ."""
    query = query_of(_request(), "region", "vault", "finding", "limit", "cursor")
    asked.check_one_of(query, "finding", FindingKind)
    page = farshore().findings.page(
        asked.place_filters(query), limit=limit_of(query), cursor=query.get("cursor")
    )
    return answer({"items": [finding_document(each) for each in page.items], "cursor": page.cursor})


@blueprint.route("/inventory", methods=["POST"], authorizer=SIGNED, content_types=ANY_CONTENT)
@answering
def post_inventory() -> Response:
    """Take an inventory now, of all places or of one."""
    app, request = farshore(), _request()
    query_of(request)
    places = asked.places(app, body_of(request, known=frozenset({"region", "vault"})))

    def work() -> Any:
        return {"jobs": list(app.inventories.open(request_identity(app, request), places))}

    return idempotent(app, request, work, HTTPStatus.ACCEPTED)


def _opened(request: AnyRequest) -> dict[str, Any]:
    return {"jobs": list(farshore().engine.open([request]))}


def _plan(name: str) -> Plan:
    stored = farshore().plans.get(name)
    if stored is None:
        raise _no_plan(name)
    return stored.plan


def _no_plan(name: str) -> NotFound:
    return NotFound("no such plan", resource=f"plan {name}")


def _point(point_id: str) -> RecoveryPoint:
    point = farshore().points.get(point_id)
    if point is None:
        raise NotFound("no such recovery point", resource=point_id)
    return point
