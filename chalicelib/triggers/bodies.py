"""What the bodies and queries of the API say: read and checked, for the capabilities to act on."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from chalicelib.backup.requests import BackupOrder
from chalicelib.errors import InvalidInput, Problem
from chalicelib.plans.durations import parse_duration
from chalicelib.recovery.restores import RestoreOrder
from chalicelib.triggers.http import LONGEST_TEXT_BYTES

LONGEST_NAME = 63


def backup_order(body: Mapping[str, Any]) -> BackupOrder:
    """Read the body of `POST /backups`.

    Raises:
        InvalidInput: a value has the wrong type.
    """
    problems = [*_texts(body, "plan", "rule"), *_storable(body, "note")]
    ids = body.get("instance_ids")
    if ids is not None and not (isinstance(ids, list) and ids and all(isinstance(each, str) for each in ids)):
        problems.append(Problem("/instance_ids", ids, "a list of one or more instance ids, or nothing"))
    keep = _keep(body.get("keep"))
    if isinstance(keep, Problem):
        problems.append(keep)
    if problems or isinstance(keep, Problem):
        raise InvalidInput("the body", problems)
    return BackupOrder(
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


def restore_order(body: Mapping[str, Any]) -> tuple[RestoreOrder, bool]:
    """Read the body of `POST /restores`: the order, and whether it is a dry run.

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
    order = RestoreOrder(point, service, rule, plan, at, body.get("vault"), body["target"])
    return order, body.get("dry_run", False)


def place_of(body: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Read the body of `POST /inventory`: a region or a vault.

    Raises:
        InvalidInput: one of them is no text.
    """
    problems = _texts(body, "region", "vault")
    if problems:
        raise InvalidInput("the body", problems)
    return body.get("region"), body.get("vault")


def place_filters(query: Mapping[str, str]) -> dict[str, str]:
    """Return which findings are asked for.

    Raises:
        InvalidInput: both a region and a vault are named, or one that cannot be.
    """
    if "region" in query and "vault" in query:
        problem = Problem("/vault", query["vault"], "a region or a vault, not both")
        raise InvalidInput("the query", [problem])
    for name in ("region", "vault"):
        if len(query.get(name, "x").encode()) not in range(1, LONGEST_NAME + 1):
            expected = f"the name of a {name}, 1 to {LONGEST_NAME} characters"
            raise InvalidInput("the query", [Problem(f"/{name}", query[name], expected)])
    return {name: query[name] for name in ("region", "vault", "finding") if name in query}


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
