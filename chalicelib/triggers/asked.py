"""What the bodies and queries of the API ask for: read, checked, and turned into requests for jobs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from chalicelib.backup.due_backups import Covered, covered_by
from chalicelib.catalog.location import Location
from chalicelib.catalog.recovery_point import Lineage, Origin, PointState, RecoveryPoint, SnapshotRef
from chalicelib.catalog.store.rules import id_of
from chalicelib.errors import Conflict, InvalidInput, NotFound, Problem
from chalicelib.jobs.claims import lock_of_instance
from chalicelib.jobs.job import AnyRequest, JobId, JobKind
from chalicelib.jobs.work import (
    Cause,
    ServiceRestoreWork,
    Terms,
    VolumeRestoreWork,
    copy_method,
    copy_request,
)
from chalicelib.plans.durations import parse_duration
from chalicelib.plans.model import Kind, Plan, ServiceRule
from chalicelib.plans.values import PRIMARY
from chalicelib.recovery.requests import (
    WHAT,
    Order,
    artefact_to_restore,
    newest_at,
    plan_service_restore,
    plan_volume_restore,
)
from chalicelib.triggers.http import LONGEST_TEXT_BYTES

if TYPE_CHECKING:
    from chalicelib.wiring import Farshore


LONGEST_NAME = 63


@dataclass(frozen=True, slots=True)
class BackupsAsked:
    """`POST /backups`: a plan, perhaps only one of its rules, perhaps only some of its instances; and what is
    said of the points: a note, how long they are kept, or that they are held."""

    plan: str
    rule: str | None
    instance_ids: tuple[str, ...] | None
    note: str = ""
    keep: timedelta | None = None
    held: bool = False

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> "BackupsAsked":
        """Read the body.

        Raises:
            InvalidInput: a value has the wrong type.
        """
        problems = [*_texts(body, "plan", "rule"), *_storable(body, "note")]
        ids = body.get("instance_ids")
        if ids is not None and not (
            isinstance(ids, list) and ids and all(isinstance(each, str) for each in ids)
        ):
            problems.append(Problem("/instance_ids", ids, "a list of one or more instance ids, or nothing"))
        keep = _keep(body.get("keep"))
        if isinstance(keep, Problem):
            problems.append(keep)
        if problems or isinstance(keep, Problem):
            raise InvalidInput("the body", problems)
        return cls(
            body["plan"],
            body.get("rule"),
            tuple(ids) if ids is not None else None,
            body.get("note", ""),
            keep if isinstance(keep, timedelta) else None,
            keep is True,
        )


def _keep(value: Any) -> timedelta | bool | Problem:
    """Read how long a point is to be kept: a duration, or true for as long as it is held."""
    if value is None or value is True:
        return value is True
    expected = Problem("/keep", value, "a duration from 1m to 36500d, such as 30d, or true to hold it")
    if not isinstance(value, str):
        return expected
    try:
        return parse_duration(value, least=timedelta(minutes=1))
    except ValueError:
        return expected


@dataclass(frozen=True, slots=True)
class RestoreAsked:
    """`POST /restores`: a recovery point by its id, or the newest of a service's rule; where from and where
    to."""

    point: str | None
    service: str | None
    rule: str | None
    plan: str | None
    at: datetime | None
    vault: str | None
    target: Mapping[str, Any]
    dry_run: bool

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> "RestoreAsked":
        """Read the body.

        Raises:
            InvalidInput: a value has the wrong type, or it is not said what to restore.
        """
        problems = _texts(body, "recovery_point", "service", "rule", "plan", "at", "vault")
        if not isinstance(body["target"], dict):
            problems.append(Problem("/target", body["target"], "an object"))
        if not isinstance(body.get("dry_run", False), bool):
            problems.append(Problem("/dry_run", body["dry_run"], "true or false"))
        by_id, by_rule = "recovery_point" in body, "service" in body and "rule" in body
        if by_id == by_rule or (by_id and any(key in body for key in ("service", "rule", "plan", "at"))):
            expected = "either `recovery_point`, or `service` and `rule` and perhaps `plan` and `at`"
            problems.append(Problem("", sorted(body), expected))
        if problems:
            raise InvalidInput("the body", problems)
        at = moment_of(body, "at")
        names = ("recovery_point", "service", "rule", "plan")
        point, service, rule, plan = (body.get(name) for name in names)
        return cls(
            point, service, rule, plan, at, body.get("vault"), body["target"], body.get("dry_run", False)
        )


def place_filters(query: Mapping[str, str]) -> dict[str, str]:
    """Return which findings are asked for.

    Raises:
        InvalidInput: both a region and a vault are named, or one that cannot be.
    """
    _one_place(query)
    for name in ("region", "vault"):
        if len(query.get(name, "x").encode()) not in range(1, LONGEST_NAME + 1):
            expected = f"the name of a {name}, 1 to {LONGEST_NAME} characters"
            raise InvalidInput("the query", [Problem(f"/{name}", query[name], expected)])
    return {name: query[name] for name in ("region", "vault", "finding") if name in query}


def places(app: "Farshore", body: Mapping[str, Any]) -> tuple[Location, ...]:
    """Return the places to take an inventory of: all, or the one that is named.

    Raises:
        InvalidInput: both a region and a vault are named, or one that there is none of.
    """
    _one_place(body)
    for name in ("region", "vault"):
        if name in body:
            there = {getattr(place, name): place for place in app.places if getattr(place, name)}
            if not isinstance(body[name], str) or body[name] not in there:
                expected = f"one of {', '.join(sorted(there))}"
                raise InvalidInput("the body", [Problem(f"/{name}", body[name], expected)])
            return (there[body[name]],)
    return app.places


def _one_place(named: Mapping[str, Any]) -> None:
    if "region" in named and "vault" in named:
        raise InvalidInput(
            "the request", [Problem("/vault", named["vault"], "a region or a vault, not both")]
        )


def open_backups(app: "Farshore", asked: BackupsAsked, plan: Plan, key: str) -> tuple[JobId, ...]:
    """Open backups of the rules and instances asked for.

    Raises:
        InvalidInput: the plan has no such rule, or does not select one of the instances.
        Conflict: the plan selects no instance at all.
    """
    rules = [rule for rule in plan.rules if asked.rule in (None, rule.name)]
    if not rules:
        expected = f"a rule of plan {plan.name!r}: {', '.join(rule.name for rule in plan.rules)}"
        raise InvalidInput("the body", [Problem("/rule", asked.rule, expected)])
    covered = _limited(asked, covered_by(plan, app.home_ec2))
    ids = app.opener.rule_ids(plan)
    targets = [target for rule in rules for target in app.opener.targets(plan, rule, ids[rule.name], covered)]
    terms = Terms(Origin.REQUEST, asked.note, asked.keep, asked.held)
    cause = Cause(app.now(), "asked for through the API", key=key, terms=terms)
    return app.opener.open(targets, cause)


def _limited(asked: BackupsAsked, covered: Covered) -> Covered:
    """Return what is covered of the instances asked for."""
    selected = {instance for ids in covered.services.values() for instance in ids}
    strange = [each for each in asked.instance_ids or () if each not in selected]
    without_service = f" (without the tag that names their service: {', '.join(covered.without_service)})"
    if strange:
        expected = f"instances that plan {asked.plan!r} selects" + (
            without_service if covered.without_service else ""
        )
        raise InvalidInput("the body", [Problem("/instance_ids", strange, expected)])
    if not selected:
        why = "it selects no instance now" + (without_service if covered.without_service else "")
        raise Conflict(why, operation="backing up", resource=f"plan {asked.plan}")
    return covered if asked.instance_ids is None else covered.limited_to(asked.instance_ids)


def copy(app: "Farshore", point: RecoveryPoint, vault: Any, key: str) -> AnyRequest:
    """Return the request for a copy.

    Raises:
        InvalidInput: there is no such vault to copy into, or it cannot hold this kind of point.
        Conflict: the point has no original to copy from, or is there already or soon.
    """
    vault_kinds = app.vault_kinds
    others = sorted(name for name in vault_kinds if name != PRIMARY)
    if vault not in others:
        problem = Problem("/vault", vault, f"a configured vault: {', '.join(others) or 'there is none'}")
        raise InvalidInput("the body", [problem])
    if point.kind is Kind.SNAPSHOT and vault_kinds[vault] != "s3":
        raise InvalidInput(
            "the body", [Problem("/vault", vault, "an S3 vault: snapshots off-site are not supported yet")]
        )
    if PRIMARY not in point.available_in():
        raise Conflict(f"it is {point.state} and not in primary", operation="copying", resource=point.id)
    if vault in point.available_in():
        raise Conflict(f"it is in {vault} already", operation="copying", resource=point.id)
    left = point.in_vault(vault)
    if left is not None and left.state is PointState.EXPIRED:
        raise Conflict(
            f"what is left of it in {vault} is being deleted", operation="copying", resource=point.id
        )
    request = copy_request(point, vault, copy_method(point.kind, vault_kinds[vault]), cause=key, due=False)
    pinned = [job for job in point.pins.get(PRIMARY, ()) if job != request.id]
    for job in (found for job_id in sorted(pinned) if (found := app.jobs.get(job_id))):
        if getattr(job.work, "vault", None) == vault and job.kind == request.kind and not job.state.final:
            why = f"{job.id} copies it into {vault} already"
            raise Conflict(why, operation="copying", resource=point.id)
    return request


def restore(app: "Farshore", asked: RestoreAsked, key: str) -> AnyRequest:
    """Return the request for a restore.

    Raises:
        NotFound: there is no such point, or none of that age.
        InvalidInput: the target is not one for this kind of point or is not there, or the vault is not
            configured.
    """
    if asked.vault is not None and asked.vault not in app.vault_kinds:
        expected = f"a configured vault: {', '.join(sorted(app.vault_kinds))}"
        raise InvalidInput("the body", [Problem("/vault", asked.vault, expected)])
    point = app.points.get(asked.point) if asked.point else _newest(app, asked)
    if point is None:
        raise _no_point(asked)
    stored = app.plans.get(point.plan)
    order = Order(asked.vault, asked.target, key, app.now())
    artefact = artefact_to_restore(point, asked.vault)
    if point.kind is Kind.SNAPSHOT:
        refs = tuple(app.points.snapshots(point, artefact.vault))
        planned = plan_volume_restore(point, artefact, refs, order)
    else:
        in_s3 = (name for name, kind in app.vault_kinds.items() if kind == "s3")
        staging_vaults = sorted(in_s3, key=lambda name: (name != PRIMARY, name))
        planned = plan_service_restore(
            point, artefact, stored.plan if stored else None, order, staging_vaults
        )
    _require_target(app, planned)
    if stored is not None and not asked.dry_run:
        app.rules.put(stored.plan.rules)
    return planned


def refs_of_restore(app: "Farshore", work: object) -> tuple[SnapshotRef, ...]:
    """Return the snapshots that a restore makes volumes of; none when its point is forgotten."""
    if not isinstance(work, VolumeRestoreWork):
        return ()
    point = app.points.get(work.recovery_point)
    if point is None or point.in_vault(work.vault) is None:
        return ()
    if work.shard is not None:
        return app.points.shard(point, work.vault, work.shard)
    return tuple(app.points.snapshots(point, work.vault))


def rule_of_restore(app: "Farshore", planned: AnyRequest) -> ServiceRule | None:
    """Return the rule whose scripts a restore runs, None for one that runs none."""
    if not isinstance(planned.work, ServiceRestoreWork):
        return None
    stored = app.plans.get(planned.plan)
    rules = stored.plan.rules if stored else ()
    rule = next((rule for rule in rules if id_of(rule) == planned.work.rule), None)
    rule = rule or app.rules.get(planned.work.rule)
    return rule if isinstance(rule, ServiceRule) else None


def _no_point(asked: RestoreAsked) -> NotFound:
    if asked.point:
        return NotFound("no such recovery point", resource=asked.point)
    where = f" in vault {asked.vault}" if asked.vault else ""
    when = f" made by {asked.at:%Y-%m-%d %H:%M:%S} UTC" if asked.at else ""
    why = f"there is no recovery point that can be restored{where}{when}"
    return NotFound(why, resource=f"service {asked.service}, rule {asked.rule}")


def _require_target(app: "Farshore", planned: AnyRequest) -> None:
    """Check that EC2 knows the target: better refused now than failed later.

    Raises:
        InvalidInput: there is no such instance or zone.
        Conflict: another restore works on the instance.
    """
    match planned.work:
        case ServiceRestoreWork(instance_id=instance):
            if not app.home_ec2.instances_by_id([instance]):
                expected = f"an instance of {app.settings.home_region} that is not terminated"
                raise InvalidInput(WHAT, [Problem("/target/instance_id", instance, expected)])
            holder = app.claims.lock_holder(lock_of_instance(instance))
            if holder is not None and holder.startswith(JobKind.RESTORE) and holder != planned.id:
                job = app.jobs.get(holder)
                if job is not None and not job.state.final:
                    raise Conflict(f"{holder} restores onto it now", operation="restoring", resource=instance)
        case VolumeRestoreWork(availability_zone=zone, region=region):
            zones = app.ec2(region).availability_zones()
            if zone not in zones:
                expected = f"a zone of {region}, one of {', '.join(zones)}"
                raise InvalidInput(WHAT, [Problem("/target/availability_zone", zone, expected)])


def _newest(app: "Farshore", asked: RestoreAsked) -> RecoveryPoint | None:
    """Return the newest point asked for.

    Raises:
        Conflict: more than one plan has points of that service and rule, and none is named.
    """
    plans = [asked.plan] if asked.plan else _plans_with(app, asked)
    if len(plans) > 1:
        why = f"plans {', '.join(plans)} have points of this service and rule; name one as `plan`"
        raise Conflict(why, operation="restoring", resource=f"service {asked.service}, rule {asked.rule}")
    lineages = [Lineage(plan, asked.rule or "", kind, asked.service or "") for plan in plans for kind in Kind]
    points = [point for lineage in lineages for point in app.points.of_lineage(lineage)]
    return newest_at(points, asked.at, asked.vault)


def _plans_with(app: "Farshore", asked: RestoreAsked) -> list[str]:
    """Return the plans that have points of a service and rule, also plans that are gone."""
    found: set[str] = set()
    cursor: str | None = None
    filters = {"service": asked.service or "", "rule": asked.rule or ""}
    while True:
        page = app.points.list(filters=filters, before=None, limit=500, cursor=cursor)
        found |= {point.plan for point in page.items if point.available_in()}
        if page.cursor is None:
            return sorted(found)
        cursor = page.cursor


def reason_of(body: Mapping[str, Any]) -> str:
    """Return the reason that a body gives.

    Raises:
        InvalidInput: it is no text, or too long.
    """
    problems = _storable(body, "reason")
    if problems:
        raise InvalidInput("the body", problems)
    return str(body["reason"])


def number_of(query: Mapping[str, str], name: str) -> int | None:
    """Return a parameter that is a whole number, None when it is not given.

    Raises:
        InvalidInput: it is something else.
    """
    text = query.get(name)
    if text is not None and not (text.isascii() and text.isdecimal()):
        raise InvalidInput("the query", [Problem(f"/{name}", text, "a whole number, 0 or more")])
    return int(text) if text is not None else None


def check_one_of(query: Mapping[str, str], name: str, values: Iterable[StrEnum]) -> None:
    """Check a parameter that has a fixed set of values.

    Raises:
        InvalidInput: it has another one.
    """
    if name in query and query[name] not in set(values):
        raise InvalidInput("the query", [Problem(f"/{name}", query[name], "one of " + ", ".join(values))])


def moment_of(values: Mapping[str, Any], name: str) -> datetime | None:
    """Return a moment given as RFC 3339 with a zone, None when it is not given.

    Raises:
        InvalidInput: it is something else.
    """
    text = values.get(name)
    if text is None:
        return None
    wrong = InvalidInput(
        "the request", [Problem(f"/{name}", text, "RFC 3339 with a zone: 2026-11-22T14:00:00Z")]
    )
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise wrong
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as fault:  # the first and last days of the calendar have no UTC
        raise wrong from fault


def _texts(body: Mapping[str, Any], *names: str) -> list[Problem]:
    return [
        Problem(f"/{name}", body[name], f"a text of 1 to {LONGEST_TEXT_BYTES} bytes")
        for name in names
        if name in body and not _is_text(body[name])
    ]


def _storable(body: Mapping[str, Any], name: str) -> list[Problem]:
    """Check a text that is stored: it has no halves of surrogate pairs, which UTF-8 cannot write."""
    value = body.get(name)
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        return [Problem(f"/{name}", value, "a text without halves of surrogate pairs")]
    return _texts(body, name)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value.encode("utf-8", "replace")) <= LONGEST_TEXT_BYTES
