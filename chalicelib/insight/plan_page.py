"""Plans as the API lists them."""

from typing import Annotated

from pydantic import PlainSerializer

from chalicelib.catalog.values import Answer, says
from chalicelib.plans.model import Plan

AsStored = Annotated[Plan, PlainSerializer(Plan.document)]
"""A plan with every default filled in, even where answers leave out what is empty."""


class PlanPage(Answer):
    """A page of plans, by name."""

    items: Annotated[tuple[AsStored, ...], says("the plans")]
    cursor: Annotated[str | None, says("the cursor of the next page; null on the last page")]
