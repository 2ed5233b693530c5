"""Marks artefacts MISSING that are good in the catalog and not in their vault, and good again once they are.

Two checks, ten minutes apart, must fail before one is marked. Nothing is deleted, so the next inventory can
undo any mistake.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from chalicelib.aws.ec2 import Ec2
from chalicelib.catalog.location import Location
from chalicelib.catalog.recovery_point import Artefact, DueCopy, PointState, RecoveryPoint
from chalicelib.catalog.store import points as point_writes
from chalicelib.catalog.store import services
from chalicelib.catalog.store.due_copies import due, no_longer_due
from chalicelib.catalog.store.findings import FindingKind, FindingStore
from chalicelib.catalog.store.points import PointStore
from chalicelib.catalog.store.services import ServiceStore
from chalicelib.catalog.store.writes import Write
from chalicelib.inventory.proof import point_ids
from chalicelib.inventory.survey import PAGE, SECOND_LOOK_AFTER, Candidate, Remedy, SurveyPage
from chalicelib.plans.values import PRIMARY
from chalicelib.vaults.layout import manifest_key
from chalicelib.vaults.vault import Vault

POINTS_AT_ONCE = 30
NAMED_AT_MOST = 3

Marking = Callable[[RecoveryPoint, Artefact], tuple[Write, ...]]
"""Returns the writes that record an artefact in its new state."""


@dataclass(frozen=True, slots=True)
class ArtefactSurvey:
    """The artefacts of one vault; `ec2` is that of its region, where it keeps snapshots.

    `second` checks only those that were not found before.
    """

    vault: Vault
    ec2: Ec2 | None
    points: PointStore
    services: ServiceStore
    findings: FindingStore
    now: Callable[[], datetime]
    second: bool = False
    at_once: int = 1
    bucket: None = None

    @property
    def name(self) -> str:
        """What is surveyed, in words."""
        return "artefacts not found" if self.second else "artefacts"

    @property
    def after(self) -> timedelta:
        """The second check comes later, as listings lag."""
        return SECOND_LOOK_AFTER if self.second else timedelta(0)

    def read_page(self, cursor: str | None) -> SurveyPage:
        """Look at the artefacts of the next points."""
        return self._look_at_suspects(cursor) if self.second else self._look_at_all(cursor)

    def _look_at_all(self, cursor: str | None) -> SurveyPage:
        filters = {"vault": self.vault.name}
        page = self.points.list(filters=filters, before=None, limit=POINTS_AT_ONCE, cursor=cursor)
        return SurveyPage(
            tuple(self._differences(page.items, _unmarked)), looked_at=len(page.items), cursor=page.cursor
        )

    def _look_at_suspects(self, cursor: str | None) -> SurveyPage:
        place = Location(vault=self.vault.name)
        found = self.findings.of_place(place, FindingKind.MISSING, after=cursor, limit=PAGE)
        suspected = [each.what for each in found if not each.settled]
        sight = self._look_at(sorted(point_ids(suspected)), _unmarked)
        return replace(sight, cursor=found[-1].key[1] if len(found) == PAGE else None)

    def recheck(self, whats: Sequence[str]) -> SurveyPage:
        """Return what still differs of these points, with the writes that mark them."""
        return self._look_at(whats, self._marking)

    def _look_at(self, whats: Sequence[str], marking: Marking) -> SurveyPage:
        found = self.points.get_many(whats)
        differences = tuple(self._differences(found.values(), marking))
        still = {each.what for each in differences}
        return SurveyPage(
            differences, tuple((FindingKind.MISSING, what) for what in whats if what not in still)
        )

    def remove(self, what: str, stop: Callable[[], bool]) -> bool:
        """Remove nothing: artefacts are only marked."""
        return True

    def _differences(self, found: Iterable[RecoveryPoint], marking: Marking) -> Iterator[Candidate]:
        """Yield the artefacts whose state differs from the catalog's."""
        known = [
            (point, point.artefacts[self.vault.name]) for point in found if self.vault.name in point.artefacts
        ]
        looked = [each for each in known if each[1].state in (PointState.AVAILABLE, PointState.MISSING)]
        snapshots = {
            point.id: [ref.id for ref in self.points.snapshots(point, self.vault.name)] for point, _ in looked
        }
        there = self._there(each for ids in snapshots.values() for each in ids)
        for point, artefact in looked:
            gone = [*(each for each in snapshots[point.id] if each not in there), *self._files_gone(artefact)]
            after = _as_it_is(artefact, gone)
            if after == artefact and artefact.state is PointState.AVAILABLE:
                yield from self._manifest_gone(point, artefact)
                continue
            yield _difference(point, artefact, after, marking(point, after) if after != artefact else ())

    def _there(self, snapshots: Iterable[str]) -> set[str]:
        ids = list(snapshots)
        if not ids or self.ec2 is None:
            return set()
        return {each.id for each in self.ec2.snapshots_by_id(ids) if each.state == "completed"}

    def _files_gone(self, artefact: Artefact) -> list[str]:
        """Return which of a file's objects are missing."""
        wanted = artefact.object_keys
        return sorted(wanted - {each.key for each in self.vault.list(artefact.folder)}) if wanted else []

    def _manifest_gone(self, point: RecoveryPoint, artefact: Artefact) -> Iterator[Candidate]:
        """Yield a missing manifest of snapshots that are there; they can be restored without it."""
        if not artefact.snapshots.snapshot_count:
            return
        key = manifest_key(artefact.folder)
        if self.vault.size(key) is None:
            why = f"{key} is gone from {self.vault.name}; the snapshots are there and can be restored"
            yield Candidate(
                FindingKind.MISSING, key, why, point=point.id, service=point.service, settled=True
            )

    def _marking(self, point: RecoveryPoint, after: Artefact) -> tuple[Write, ...]:
        """Return the writes that mark an artefact MISSING, or good again, with the lineage's counts."""
        now, vault = self.now(), self.vault.name
        record = self.services.with_vaults(point.lineage)
        marked = point.with_artefact(after)
        lineage = [marked if each.id == point.id else each for each in self.points.of_lineage(point.lineage)]
        return (
            point_writes.changing(point, after, now),
            services.counting(point, vault, -1 if after.state is PointState.MISSING else 1),
            *services.restating(record, lineage),
            *_copied_again(point, after, now),
        )


def _copied_again(point: RecoveryPoint, after: Artefact, now: datetime) -> tuple[Write, ...]:
    """Return the writes that make a copy again that has disappeared, if its plan still wants it. Pure."""
    if after.vault == PRIMARY:
        return ()
    if after.state is not PointState.MISSING:
        return no_longer_due(point, after.vault)
    return due(point, after.vault, DueCopy(0, now)) if after.vault not in point.due else ()


def _unmarked(point: RecoveryPoint, after: Artefact) -> tuple[Write, ...]:
    return ()


def _as_it_is(artefact: Artefact, gone: Sequence[str]) -> Artefact:
    """Return an artefact in the state in which it was found: good or missing. Pure."""
    if not gone:
        return replace(artefact, state=PointState.AVAILABLE, reason="") if _is_missing(artefact) else artefact
    if _is_missing(artefact):
        return artefact
    named = ", ".join(gone[:NAMED_AT_MOST])
    more = f" and {len(gone) - NAMED_AT_MOST} more" if len(gone) > NAMED_AT_MOST else ""
    return replace(artefact, state=PointState.MISSING, reason=f"gone from {artefact.vault}: {named}{more}")


def _is_missing(artefact: Artefact) -> bool:
    return artefact.state is PointState.MISSING


def _difference(
    point: RecoveryPoint, artefact: Artefact, after: Artefact, writes: tuple[Write, ...]
) -> Candidate:
    """Return the difference of an artefact, with the writes that mark it or remove its mark. Pure."""
    marks = Remedy(SECOND_LOOK_AFTER, writes=writes) if not _is_missing(artefact) else None
    back = _is_missing(artefact) and not _is_missing(after)
    return Candidate(
        kind=FindingKind.MISSING,
        what=point.id,
        reason=after.reason,
        point=point.id,
        service=point.service,
        remedy=Remedy(writes=writes) if back else marks,
        settled=_is_missing(artefact),
        unsaid=back,
    )
