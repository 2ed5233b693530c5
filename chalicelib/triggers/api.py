"""The API: JSON over API Gateway, signed by IAM. Each route reads its input, asks one part, answers.

What may be asked and what is answered is in docs/api.md.
"""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from chalice.app import Blueprint, IAMAuthorizer, Request, Response

from chalicelib.backup.due_backups import covered_by
from chalicelib.catalog.recovery_point import STATES_OF_POINTS
from chalicelib.catalog.store.findings import FindingKind
from chalicelib.errors import InvalidInput, Problem
from chalicelib.insight.documents import (
    finding_document,
    job_document,
    point_document,
    restore_preview,
    volumes_document,
)
from chalicelib.insight.preview import preview, warnings_of
from chalicelib.jobs.job import JobId, JobKind, JobState
from chalicelib.plans.model import Kind, parse_plan
from chalicelib.triggers import bodies
from chalicelib.triggers.cursors import decode_cursor, encode_cursor
from chalicelib.triggers.forecasts import forecast_document, stays_document
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
    return answer(farshore().plans.require(unquote(name)).plan.document())


@blueprint.route("/plans/{name}", methods=["PUT"], authorizer=SIGNED, content_types=ANY_CONTENT)
@answering
def put_plan(name: str) -> Response:
    """Store a plan, or with `?dry_run=true` show what it would do.

    One that lets more than a quarter of a lineage go is stored only with `?confirm=` and how many go.
    """
    app, request = farshore(), _request()
    query = query_of(request, "dry_run", "confirm")
    dry_run, confirmed = flag_of(query, "dry_run"), bodies.number_of(query, "confirm")
    document = {"name": unquote(name), **body_of(request)}
    if document["name"] != unquote(name):
        expected = f"the name in the path, {unquote(name)!r}"
        raise InvalidInput("the plan", [Problem("/name", document["name"], expected)])
    plan = parse_plan(document, vaults=app.vault_kinds, now=app.now())
    covered = covered_by(plan, app.home_ec2)
    if dry_run:
        forecast = app.plan_changes.forecast(plan)
        shown = preview(plan, covered.services, covered.without_service, app.now())
        return answer({**shown, **forecast_document(forecast), "confirm": forecast.confirm})
    forecast = app.plan_changes.store(plan, covered.services, confirmed)
    warnings = warnings_of(plan, covered.services, covered.without_service, app.now())
    return answer({**plan.document(), "warnings": warnings, **forecast_document(forecast)})


@blueprint.route("/plans/{name}", methods=["DELETE"], authorizer=SIGNED)
@answering
def delete_plan(name: str) -> Response:
    """Remove a plan; its recovery points stay, and are told."""
    query_of(_request())
    stays = farshore().plan_changes.remove(unquote(name))
    return answer({"stays_behind": stays_document(stays)})


BACKUP_KEYS = frozenset({"plan", "rule", "instance_ids", "keep", "note"})


@blueprint.route("/backups", methods=["POST"], authorizer=SIGNED, content_types=ANY_CONTENT)
@answering
def post_backups() -> Response:
    """Back up now."""
    app, request = farshore(), _request()
    query_of(request)
    body = body_of(request, known=BACKUP_KEYS, required=("plan",))
    order = bodies.backup_order(body)

    def work() -> Any:
        return _opened(app.backup_requests.open(order, request_identity(app, request)))

    return idempotent(app, request, work, HTTPStatus.ACCEPTED)


@blueprint.route("/jobs", methods=["GET"], authorizer=SIGNED)
@answering
def list_jobs() -> Response:
    """List jobs, newest first."""
    query = query_of(_request(), "service", "plan", "kind", "state", "limit", "cursor")
    bodies.check_one_of(query, "kind", JobKind)
    bodies.check_one_of(query, "state", JobState)
    filters = {name: text for name, text in query.items() if name not in ("limit", "cursor")}
    page = farshore().jobs.list(filters=filters, limit=limit_of(query), cursor=query.get("cursor"))
    return answer({"items": [job_document(job) for job in page.items], "cursor": page.cursor})


@blueprint.route("/jobs/{job_id}", methods=["GET"], authorizer=SIGNED)
@answering
def get_job(job_id: str) -> Response:
    """Show a job."""
    query_of(_request())
    app = farshore()
    job = app.jobs.require(job_id)
    refs, made = app.restores.snapshots_of(job.work), getattr(job.progress, "made", {})
    return answer({**job_document(job), **volumes_document(job.work, refs, made)})


@blueprint.route("/recovery-points", methods=["GET"], authorizer=SIGNED)
@answering
def list_recovery_points() -> Response:
    """List recovery points, newest first."""
    names = ("service", "plan", "rule", "kind", "state", "vault")
    query = query_of(_request(), *names, "before", "limit", "cursor")
    bodies.check_one_of(query, "kind", Kind)
    bodies.check_one_of(query, "state", STATES_OF_POINTS)
    page = farshore().points.list(
        filters={name: query[name] for name in names if name in query},
        before=bodies.moment_of(query, "before"),
        limit=limit_of(query),
        cursor=query.get("cursor"),
    )
    return answer({"items": [point_document(point) for point in page.items], "cursor": page.cursor})


@blueprint.route("/recovery-points/{point_id}", methods=["GET"], authorizer=SIGNED)
@answering
def get_recovery_point(point_id: str) -> Response:
    """Show a recovery point."""
    query_of(_request())
    return answer(point_document(farshore().points.require(point_id)))


@blueprint.route("/recovery-points/{point_id}", methods=["DELETE"], authorizer=SIGNED)
@answering
def delete_recovery_point(point_id: str) -> Response:
    """Delete a recovery point in every vault, unless it is the newest good one or a job needs it."""
    query_of(_request())
    return answer(_opened(farshore().deletions.open(point_id)), HTTPStatus.ACCEPTED)


@blueprint.route(
    "/recovery-points/{point_id}/hold", methods=["PUT"], authorizer=SIGNED, content_types=ANY_CONTENT
)
@answering
def put_hold(point_id: str) -> Response:
    """Keep a recovery point whatever its lifecycle says."""
    request = _request()
    query_of(request)
    body = body_of(request, known=frozenset({"reason"}), required=("reason",))
    return answer(point_document(farshore().holds.hold(point_id, bodies.reason_of(body))))


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
    return answer(point_document(farshore().holds.confirm(point_id, bodies.reason_of(body))))


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
        return _opened(app.copy_requests.open(point_id, body["vault"], request_identity(app, request)))

    return idempotent(app, request, work, HTTPStatus.ACCEPTED)


@blueprint.route("/restores", methods=["POST"], authorizer=SIGNED, content_types=ANY_CONTENT)
@answering
def post_restores() -> Response:
    """Restore a recovery point, or with `dry_run` show what that would do."""
    app, request = farshore(), _request()
    query_of(request)
    known = frozenset({"recovery_point", "service", "rule", "plan", "at", "vault", "target", "dry_run"})
    order, dry_run = bodies.restore_order(body_of(request, known=known, required=("target",)))

    def work() -> Any:
        planned = app.restores.plan(order, request_identity(app, request))
        volumes = volumes_document(planned.request.work, planned.refs)
        if dry_run:
            would = restore_preview(planned.request, planned.script_rule)
            return {"jobs": [], "would": {**would, **volumes}}
        return {**_opened(app.restores.open(planned)), **volumes}

    return idempotent(app, request, work, HTTPStatus.OK if dry_run else HTTPStatus.ACCEPTED)


@blueprint.route("/jobs/{job_id}/cancel", methods=["POST"], authorizer=SIGNED, content_types=ANY_CONTENT)
@answering
def post_cancel(job_id: str) -> Response:
    """End a job and clean up after it."""
    app, request = farshore(), _request()
    query_of(request)

    def work() -> Any:
        app.engine.cancel(job_id, "cancelled through the API")
        return {"jobs": [job_id]}

    return idempotent(app, request, work, HTTPStatus.ACCEPTED)


@blueprint.route("/status", methods=["GET"], authorizer=SIGNED)
@answering
def status() -> Response:
    """Show how each service of each plan stands."""
    query = query_of(_request(), "service", "plan", "limit", "cursor")
    after = decode_cursor(query.get("cursor"))
    page = farshore().service_pages.page(query.get("plan"), query.get("service"), after, limit_of(query))
    items, last = page
    return answer({"items": items, "cursor": encode_cursor(*last) if last else None})


@blueprint.route("/inventory", methods=["GET"], authorizer=SIGNED)
@answering
def inventory() -> Response:
    """List where the catalog and the world differ."""
    query = query_of(_request(), "region", "vault", "finding", "limit", "cursor")
    bodies.check_one_of(query, "finding", FindingKind)
    page = farshore().findings.page(
        bodies.place_filters(query), limit=limit_of(query), cursor=query.get("cursor")
    )
    return answer({"items": [finding_document(each) for each in page.items], "cursor": page.cursor})


@blueprint.route("/inventory", methods=["POST"], authorizer=SIGNED, content_types=ANY_CONTENT)
@answering
def post_inventory() -> Response:
    """Take an inventory now, of all places or of one."""
    app, request = farshore(), _request()
    query_of(request)
    region, vault = bodies.place_of(body_of(request, known=frozenset({"region", "vault"})))
    places = app.inventories.places_of(region, vault)

    def work() -> Any:
        return _opened(app.inventories.open(request_identity(app, request), places))

    return idempotent(app, request, work, HTTPStatus.ACCEPTED)


def _opened(jobs: Iterable[JobId]) -> dict[str, Any]:
    return {"jobs": list(jobs)}
