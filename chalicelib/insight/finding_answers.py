"""Findings of inventories, as the API answers them. Pure; the keys are a contract (docs/api.md)."""

from typing import Annotated

from chalicelib.catalog.store.findings import Finding, FindingKind
from chalicelib.catalog.values import Answer, Moment, present, says
from chalicelib.plans.declared import Maybe


class FindingAnswer(Answer):
    """A difference between the catalog and what exists."""

    finding: Annotated[FindingKind, says("its kind")]
    what: Annotated[str, says("what differs: an id, a key or a folder")]
    region: Annotated[Maybe[str], says("the region it is in")] = None
    vault: Annotated[Maybe[str], says("the vault it is in")] = None
    job: Annotated[Maybe[str], says("the job it comes from")] = None
    recovery_point: Annotated[Maybe[str], says("the recovery point it is about")] = None
    service: Annotated[Maybe[str], says("the service it is about")] = None
    reason: Annotated[str, says("how it differs, and what happens to it")]
    since: Annotated[Moment, says("when it was first seen")]
    last_seen: Annotated[Moment, says("when it was last seen")]
    removed_after: Annotated[
        Moment | None,
        says("from when on an inventory removes it if an earlier one saw it, too; null: it is only reported"),
    ]


class FindingPage(Answer):
    """A page of findings."""

    items: Annotated[tuple[FindingAnswer, ...], says("the findings")]
    cursor: Annotated[str | None, says("the cursor of the next page; null on the last page")]


def finding_answer(finding: Finding) -> FindingAnswer:
    """Return a finding, as the API answers it."""
    return FindingAnswer(
        finding=finding.kind,
        what=finding.what,
        reason=finding.reason,
        since=finding.since,
        last_seen=finding.last_seen,
        removed_after=finding.removed_after,
        **present(
            region=finding.place.region,
            vault=finding.place.vault,
            job=finding.job or None,
            recovery_point=finding.point or None,
            service=finding.service or None,
        ),
    )
