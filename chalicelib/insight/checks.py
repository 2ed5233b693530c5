"""Checks as the API answers them: questions about what was looked up beforehand, and their findings. Pure.

Invariant: a question whose look-up ended in an error has the answer `unknown`, and the others are asked all
the same.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, TypeVar

from chalicelib.catalog.values import Answer, says
from chalicelib.errors import Denied, FarshoreError

MOST_NAMED = 5
View = TypeVar("View")


class CheckState(StrEnum):
    """How a check came out, the best first."""

    OK = "ok"
    UNKNOWN = "unknown"
    WARNING = "warning"
    FAILED = "failed"


_RANK = {state: number for number, state in enumerate(CheckState)}


class CheckAnswer(Answer):
    """What was checked, and how it came out."""

    check: Annotated[str, says("what was checked, see below")]
    state: Annotated[CheckState, says("how it came out; `unknown`: it could not be looked up")]
    reason: Annotated[str, says("what was found, on what")]
    remedy: Annotated[str | None, says("what to do; null where nothing is to be done")]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a question found; a finding that is not `ok` has a remedy."""

    state: CheckState
    reason: str
    remedy: str = ""


def ok(reason: str) -> Finding:
    """Find that something is as it should be."""
    return Finding(CheckState.OK, reason)


def warning(reason: str, remedy: str) -> Finding:
    """Find what may cost data or time."""
    return Finding(CheckState.WARNING, reason, remedy)


def failed(reason: str, remedy: str) -> Finding:
    """Find what stands in the way of bringing the service back."""
    return Finding(CheckState.FAILED, reason, remedy)


def unknown(reason: str, remedy: str) -> Finding:
    """Find that something cannot be told."""
    return Finding(CheckState.UNKNOWN, reason, remedy)


class Unanswerable(FarshoreError):
    """A question cannot be answered now, for a reason with a remedy of its own."""

    def __init__(self, why: str, remedy: str) -> None:
        self.remedy = remedy
        super().__init__(why)


def checked(name: str, questions: Iterable[Callable[[View], Iterator[Finding]]], view: View) -> CheckAnswer:
    """Ask the questions of a check; what is not as it should be is said, the worst first."""
    findings = [finding for question in questions for finding in _asked(question, view)]
    bad = [each for each in findings if each.state is not CheckState.OK]
    said = sorted(bad, key=lambda each: -_RANK[each.state]) or findings
    remedies = dict.fromkeys(each.remedy for each in said if each.remedy)
    return CheckAnswer(
        check=name,
        state=said[0].state,
        reason="; ".join(dict.fromkeys(each.reason for each in said)),
        remedy="; ".join(remedies) or None,
    )


def _asked(question: Callable[[View], Iterator[Finding]], view: View) -> Iterator[Finding]:
    try:
        yield from question(view)
    except FarshoreError as error:
        yield unseen(error)


def unseen(error: FarshoreError) -> Finding:
    """Find that something could not be looked up."""
    match error:
        case Unanswerable(remedy=remedy):
            pass
        case Denied():
            remedy = "allow the role of the api function this call"
        case _:
            remedy = "ask again"
    return unknown(str(error), remedy)


def named(names: Iterable[str]) -> str:
    """Return names in words: the first, and how many more there are."""
    ordered = list(names)
    more = len(ordered) - MOST_NAMED
    return ", ".join(ordered[:MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def moment(at: datetime | None) -> str:
    """Return a time in words, to the minute."""
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else "never"
