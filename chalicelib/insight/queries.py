"""The query parameters of lists: filters, and the page."""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from chalicelib.catalog.recovery_point import STATES_OF_POINTS, PointState
from chalicelib.catalog.store.findings import FindingKind
from chalicelib.catalog.values import (
    Moment,
    PlanName,
    RegionName,
    RuleName,
    ServiceName,
    VaultName,
    number,
)
from chalicelib.jobs.job import JobKind, JobState
from chalicelib.plans.declared import Declared, Fault, Maybe, worded
from chalicelib.plans.model import Kind
from chalicelib.plans.words import listed, near

MOST_ITEMS = 500


def one_of(words: Iterable[StrEnum]) -> Any:
    """Return the annotation of a query parameter that takes one of a fixed set of words."""
    known = {str(word): word for word in words}

    def read(value: object) -> object:
        if not isinstance(value, str) or value not in known:
            raise ValueError(f"{listed(known)}{near(value, known)}")
        return known[value]

    return BeforeValidator(read)


class ListQuery(Declared):
    """The page of a list."""

    limit: Annotated[
        int, Field(ge=1, le=MOST_ITEMS, description="the most items of a page"), BeforeValidator(number)
    ] = 50
    cursor: Annotated[
        Maybe[str],
        worded("the `cursor` of the page before, unchanged", title="text"),
        Field(max_length=2048, description="continue after the page that had this `cursor`"),
    ] = None

    @property
    def filters(self) -> dict[str, str]:
        """The given filters, as texts, by their keys."""
        paging = {"limit", "cursor", "before"}
        return self.model_dump(mode="json", exclude=paging, exclude_none=True)


class PlanQuery(ListQuery):
    """The query of a list of plans."""


class JobQuery(ListQuery):
    """The query of a list of jobs."""

    service: Annotated[Maybe[ServiceName], Field(description="only jobs of this service")] = None
    plan: Annotated[Maybe[PlanName], Field(description="only jobs of this plan")] = None
    kind: Annotated[Maybe[JobKind], one_of(JobKind), Field(description="only jobs of this kind")] = None
    state: Annotated[Maybe[JobState], one_of(JobState), Field(description="only jobs in this state")] = None


class PointQuery(ListQuery):
    """The query of a list of recovery points."""

    service: Annotated[Maybe[ServiceName], Field(description="only points of this service")] = None
    plan: Annotated[Maybe[PlanName], Field(description="only points of this plan")] = None
    rule: Annotated[Maybe[RuleName], Field(description="only points of the rule of this name")] = None
    kind: Annotated[Maybe[Kind], one_of(Kind), Field(description="only points of this kind")] = None
    state: Annotated[
        Maybe[PointState],
        one_of(STATES_OF_POINTS),
        WithJsonSchema({"type": "string", "enum": list(STATES_OF_POINTS)}),
        Field(description="only points in this state"),
    ] = None
    vault: Annotated[
        Maybe[VaultName], Field(description="only points that have, or had, an artefact in this vault")
    ] = None
    before: Annotated[Maybe[Moment], Field(description="only points made before this time")] = None


class StatusQuery(ListQuery):
    """The query of a list of services."""

    service: Annotated[Maybe[ServiceName], Field(description="only this service")] = None
    plan: Annotated[Maybe[PlanName], Field(description="only services of this plan")] = None


class ReadinessQuery(StatusQuery):
    """Which services the readiness of is checked."""

    limit: Annotated[
        int, Field(ge=1, le=100, description="the most items of a page"), BeforeValidator(number)
    ] = 25


class FindingQuery(ListQuery):
    """The query of a list of findings."""

    region: Annotated[Maybe[RegionName], Field(description="only findings in this region")] = None
    vault: Annotated[Maybe[VaultName], Field(description="only findings in this vault")] = None
    finding: Annotated[
        Maybe[FindingKind], one_of(FindingKind), Field(description="only findings of this kind")
    ] = None

    @classmethod
    def ties(cls, given: Mapping[str, Any], context: Any) -> Iterator[Fault]:
        """Yield a fault if both a region and a vault are given."""
        if "region" in given and "vault" in given:
            yield ("vault",), "a region or a vault, not both"
