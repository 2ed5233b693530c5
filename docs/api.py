"""Makes the tables of docs/api.md from the routes and models of the API."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http import HTTPStatus

from chalicelib.insight.checks import CheckAnswer
from chalicelib.insight.doctor import DoctorAnswer, ExaminationAnswer
from chalicelib.insight.finding_answers import FindingAnswer
from chalicelib.insight.job_answers import JobAnswer
from chalicelib.insight.launch_times import LaunchTimesAnswer
from chalicelib.insight.point_answers import ArtefactAnswer, PointAnswer
from chalicelib.insight.readiness import ReadinessAnswer
from chalicelib.insight.start_answers import StartWould
from chalicelib.insight.status import StatusAnswer, StatusRow
from chalicelib.insight.volume_answers import VolumeAnswer
from chalicelib.plans.declared import Declared
from chalicelib.triggers.plan_answers import PlanPreview
from chalicelib.triggers.routes import PUT_PLAN, ROUTES, AnyRoute, Nothing
from docs.openapi import operation_id

Row = tuple[str, ...]
Rows = Callable[..., Iterator[Row]]
Table = Callable[[Iterator[Row]], str]
_ANSWERS: Mapping[str, tuple[type[Declared], frozenset[str]]] = {
    "job": (JobAnswer, frozenset({"target.", "judged.", "volumes."})),
    "start_would": (StartWould, frozenset()),
    "volume": (VolumeAnswer, frozenset({"source."})),
    "point": (PointAnswer, frozenset({"artefacts.", "copies_due."})),
    "artefact": (ArtefactAnswer, frozenset()),
    "preview": (PlanPreview, frozenset({"plan.", "covers."})),
    "status": (StatusAnswer, frozenset({"rules.", "flagged.", "rpo."})),
    "status_row": (StatusRow, frozenset()),
    "readiness": (ReadinessAnswer, frozenset({"checks.", "launches."})),
    "check": (CheckAnswer, frozenset()),
    "launch_times": (LaunchTimesAnswer, frozenset({"many_at_once.", "restores."})),
    "doctor": (DoctorAnswer, frozenset({"checks."})),
    "examination": (ExaminationAnswer, frozenset()),
    "finding": (FindingAnswer, frozenset()),
}


def tables(rows: Rows, table: Table) -> dict[str, Callable[[], str]]:
    """Return what stands between the markers of the page, by their names; `rows` are those of a model's keys,
    and `table` makes one of them."""
    asked = {operation_id(route): partial(_asked, route, rows, table) for route in ROUTES}
    errors = {f"{operation_id(route)}_errors": partial(_errors, route) for route in ROUTES}
    answers = {
        f"{name}_answer": partial(_answer, rows, model, without)
        for name, (model, without) in _ANSWERS.items()
    }
    return {"routes": _routes, **asked, **errors, **answers}


def _answer(rows: Rows, model: type[Declared], without: frozenset[str]) -> str:
    shown = (f"| {key} | {kind} | {says} |\n" for key, kind, _, says in rows(model, without=without))
    return "| key | type | what it says |\n|---|---|---|\n" + "".join(shown)


def _routes() -> str:
    rows = (f"| [`{each.name}`](#{_anchor(each)}) | {each.summary} |\n" for each in ROUTES)
    return "| route | what it does |\n|---|---|\n" + "".join(rows)


def _anchor(route: AnyRoute) -> str:
    """Return where the heading of a route is linked to, as GitHub makes it."""
    kept = (letter for letter in route.name.lower() if letter.isalnum() or letter in "_ -")
    return "".join(kept).replace(" ", "-")


def _asked(route: AnyRoute, rows: Rows, table: Table) -> str:
    parts = []
    if route.query is not Nothing:
        parts.append(f"Query:\n\n{table(rows(route.query))}")
    if route.has_body and route is not PUT_PLAN:
        parts.append(f"Body:\n\n{table(rows(route.body))}")
    return "\n".join(parts)


def _errors(route: AnyRoute) -> str:
    """Return when a route refuses, beside what all routes share."""
    at_fault = route.wrong or route.query is not Nothing or route.has_body
    when = {
        HTTPStatus.BAD_REQUEST: route.wrong if at_fault else None,
        HTTPStatus.NOT_FOUND: route.missing or None,
        HTTPStatus.CONFLICT: route.refused or None,
        HTTPStatus.UNPROCESSABLE_ENTITY: "" if route.once else None,
    }
    said = [
        f"{int(status)} ({why})" if why else str(int(status))
        for status, why in when.items()
        if why is not None
    ]
    return f"Errors: {', '.join(said)}.\n" if said else ""
