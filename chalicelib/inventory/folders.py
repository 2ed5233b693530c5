"""Finds folders of a vault that belong to no recovery point.

A folder is removed after its grace if its point is in the catalog as failed or deleted. A folder whose point
is not in the catalog may be a good backup, and is only reported.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from chalicelib.catalog.recovery_point import PointState, RecoveryPoint
from chalicelib.catalog.store.findings import FindingKind
from chalicelib.catalog.store.points import PointStore
from chalicelib.inventory.proof import point_ids
from chalicelib.inventory.survey import PAGE, Candidate, Remedy, SurveyPage
from chalicelib.vaults.layout import POINTS_PREFIX, folder_of_key, manifest_key, point_folder, point_of_folder
from chalicelib.vaults.vault import StoredObject, Vault

KEYS_AT_ONCE = 20_000
OVER = (PointState.FAILED, PointState.DELETED)


@dataclass(slots=True)
class Listing:
    """A vault's listing that is continued from page to page.

    Some vaults cannot begin a listing in its middle, so beginning again would read all earlier keys each
    time.
    """

    vault: Vault
    prefix: str
    _at: str = ""
    _next: StoredObject | None = None
    _rest: Iterator[StoredObject] | None = None

    def take(self, after: str, enough: Callable[[StoredObject], bool]) -> Iterator[StoredObject]:
        """Yield the objects after `after` until there are enough; the first one too many comes next time."""
        if self._rest is None or self._at != after:
            self._rest, self._next = self.vault.list(self.prefix, after), None
        rest, first = self._rest, self._next
        self._rest, self._next = None, None  # a listing that fails is not continued
        stored = first or next(rest, None)
        while stored is not None and not enough(stored):
            yield stored
            self._at = stored.key
            stored = next(rest, None)
        if stored is not None:
            self._rest, self._next = rest, stored


@dataclass(slots=True)
class _Page:
    """The folders of one page, with the number of keys in each, and keys in no folder."""

    folders: dict[str, int] = field(default_factory=dict)
    keys: int = 0
    last: str = ""
    full: bool = False

    def is_full(self, stored: StoredObject) -> bool:
        """Return whether the page has no room for a key; if so, note that it is full."""
        new = _folder(stored.key) not in self.folders
        self.full = self.keys >= KEYS_AT_ONCE or (new and len(self.folders) >= PAGE)
        return self.full

    def add(self, stored: StoredObject) -> None:
        name = _folder(stored.key)
        self.folders[name] = self.folders.get(name, 0) + 1
        self.keys, self.last = self.keys + 1, stored.key


@dataclass(frozen=True, slots=True)
class FolderSurvey:
    """The folders of recovery points in a vault."""

    vault: Vault
    points: PointStore
    grace: timedelta
    listing: Listing
    name: str = "folders"
    at_once: int = 1
    bucket: None = None
    after: timedelta = timedelta(0)

    def read_page(self, cursor: str | None) -> SurveyPage:
        """Return what differs among the next folders."""
        page = _Page()
        for stored in self.listing.take(cursor or "", page.is_full):
            page.add(stored)
        orphans = tuple(self._orphans(page.folders))
        return SurveyPage(orphans, looked_at=len(page.folders), cursor=page.last if page.full else None)

    def recheck(self, whats: Sequence[str]) -> SurveyPage:
        """Return what still differs among the folders that are about to be removed."""
        there = [what for what in whats if next(self.vault.list(what), None) is not None]
        orphans = tuple(self._orphans(there))
        still = {each.what for each in orphans}
        return SurveyPage(
            orphans, tuple((FindingKind.ORPHAN_FOLDER, what) for what in whats if what not in still)
        )

    def remove(self, what: str, stop: Callable[[], bool]) -> bool:
        """Delete all objects in a folder, its manifest first."""
        self.vault.delete(manifest_key(what))
        for stored in list(self.vault.list(what)):
            if stop():
                return False
            self.vault.delete(stored.key)
        return True

    def _orphans(self, folders: Sequence[str] | dict[str, int]) -> Iterator[Candidate]:
        points = self.points.get_many(point_ids(map(point_of_folder, folders)))
        for folder in folders:
            orphan = orphan_folder(folder, self.vault.name, points.get(point_of_folder(folder)), self.grace)
            if orphan is not None:
                yield orphan


def folders_of(vault: Vault, points: PointStore, grace: timedelta) -> FolderSurvey:
    """Return the survey of the folders of a vault."""
    return FolderSurvey(vault, points, grace, Listing(vault, POINTS_PREFIX))


def orphan_folder(folder: str, vault: str, point: RecoveryPoint | None, grace: timedelta) -> Candidate | None:
    """Return the finding of a folder; None if a point has it, or is being made or copied there. Pure."""
    if folder_of_key(f"{folder}x") != folder:
        return Candidate(
            FindingKind.ORPHAN_FILE, folder, "it is in no recovery point's folder; it is left alone"
        )
    if point is None:
        why = "its recovery point is not in the catalog; it is left alone, as it may be a good backup"
        return Candidate(FindingKind.ORPHAN_FOLDER, folder, why, point=point_of_folder(folder))
    if folder != point_folder(point.service, point.rule, point.nominal_at, point.id):
        why = f"it is named after {point.id}, which has another folder; it is left alone"
        return _of(point, folder, why, None)
    artefact = point.in_vault(vault)
    recorded = artefact is not None and artefact.state is not PointState.DELETED
    if recorded or point.state is PointState.CREATING or point.pins:
        return None
    if point.state in OVER:
        why = f"{point.id} is {point.state}, and this was left of it"
        return _of(point, folder, why, Remedy(grace, twice=True, removes=True))
    why = f"the catalog has no copy of {point.id} in {vault}; it is left alone"
    return _of(point, folder, why, None)


def _of(point: RecoveryPoint, folder: str, why: str, remedy: Remedy | None) -> Candidate:
    return Candidate(
        kind=FindingKind.ORPHAN_FOLDER,
        what=folder,
        reason=why,
        point=point.id,
        service=point.service,
        remedy=remedy,
    )


def _folder(key: str) -> str:
    return folder_of_key(key) or key
