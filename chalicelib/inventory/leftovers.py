"""Follows up what jobs could not remove: reported until it is gone, and removed after its grace.

A leftover has an id that a job recorded when it made the thing, so it is ours. Restored volumes are only
reported, never removed: the operator may have put data on them.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from chalicelib.aws.ec2 import Ec2
from chalicelib.catalog.location import Location
from chalicelib.catalog.recovery_point import PointState
from chalicelib.catalog.store.findings import Finding, FindingKind, FindingStore
from chalicelib.catalog.store.points import PointStore
from chalicelib.inventory.proof import point_ids
from chalicelib.inventory.survey import PAGE, Candidate, Remedy, SurveyPage
from chalicelib.jobs.leftovers import NOTED_AT_ONCE, leftover
from chalicelib.jobs.store import JobStore
from chalicelib.vaults.vault import Uploads, Vault

# SSM ends a command by the rule's timeout, two days at most.
# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_SendCommand.html
COMMAND_ENDS_AFTER = timedelta(days=2)
_PART = re.compile(r"part (\d+) of (rp-[0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class LeftoverSurvey:
    """What jobs left in one place; a region has no `vault`, and a vault without snapshots no `ec2`."""

    place: Location
    findings: FindingStore
    jobs: JobStore
    points: PointStore
    vault: Vault | None
    ec2: Ec2 | None
    grace: timedelta
    now: Callable[[], datetime]
    name: str = "leftovers"
    at_once: int = 10
    after: timedelta = timedelta(0)

    @property
    def bucket(self) -> tuple[str, str] | None:
        """Most of them are snapshots, whose deletion is paced."""
        return ("DeleteSnapshot", self.ec2.region) if self.ec2 else None

    def read_page(self, cursor: str | None) -> SurveyPage:
        """Return the next leftovers that are still there."""
        found = self.findings.of_place(self.place, FindingKind.LEFTOVER, after=cursor, limit=NOTED_AT_ONCE)
        last = found[-1].key[1] if len(found) == NOTED_AT_ONCE else None
        sight = self._seen(found)
        return SurveyPage((*sight.candidates, *self._unlisted(found)), sight.untrue, len(found), last)

    def recheck(self, whats: Sequence[str]) -> SurveyPage:
        """Return the leftovers, of those about to be removed, that are still there."""
        wanted = set(whats)
        found, after = list[Finding](), None
        while page := self.findings.of_place(self.place, FindingKind.LEFTOVER, after=after, limit=PAGE):
            found += [each for each in page if each.what in wanted]
            after = page[-1].key[1]
        return self._seen(found)

    def remove(self, what: str, stop: Callable[[], bool]) -> bool:
        """Remove a leftover."""
        word, _, rest = what.partition(" ")
        if what.startswith("snap-") and self.ec2 is not None:
            self.ec2.delete_snapshot(what)
        elif word in ("object", "staged") and self.vault is not None:
            self.vault.delete(_key(word, rest))
        elif self.vault is not None and (uploads := self.vault.uploads) is not None:
            for key in _keys_of(uploads, _upload(what)):
                uploads.abort_upload(key, _upload(what))
        return True

    def _seen(self, found: Sequence[Finding]) -> SurveyPage:
        snapshots = [each.what for each in found if each.what.startswith("snap-")]
        volumes = [each.what for each in found if each.what.startswith("vol-")]
        there: set[str] = set()
        if self.ec2 is not None:
            there |= {each.id for each in self.ec2.snapshots_by_id(snapshots)} if snapshots else set()
            there |= {each.id for each in self.ec2.volumes(volumes)} if volumes else set()
        still = [each for each in found if each.what in there or self._is_there(each)]
        gone = [each for each in found if each not in still]
        return SurveyPage(
            tuple(self._candidate(each) for each in still),
            tuple((FindingKind.LEFTOVER, each.what) for each in gone),
        )

    def _is_there(self, found: Finding) -> bool:
        """Return whether something that is neither snapshot nor volume is still there."""
        word, _, rest = found.what.partition(" ")
        part = _PART.fullmatch(found.what)
        if found.what.startswith(("snap-", "vol-")):
            return False
        if word == "command":
            return self.now() < found.since + COMMAND_ENDS_AFTER
        if part is not None:
            return self._has_part(part[2], int(part[1]) - 1)
        if point_ids([word]):
            point = self.points.get(word)
            artefact = point.in_vault(rest) if point else None
            return artefact is not None and artefact.state not in (PointState.DELETED, PointState.AVAILABLE)
        if word in ("object", "staged") and self.vault is not None:
            return self.vault.size(_key(word, rest)) is not None
        uploads = self.vault.uploads if self.vault is not None else None
        return uploads is not None and next(_keys_of(uploads, _upload(found.what)), None) is not None

    def _has_part(self, point: str, number: int) -> bool:
        vault = self.place.vault or ""
        ids = [ref.id for ref in self.points.stored_shard(point, vault, number)]
        return bool(ids and self.ec2 and self.ec2.snapshots_by_id(ids))

    def _candidate(self, found: Finding) -> Candidate:
        told, _, _ = found.reason.partition("; it could not be removed")
        return Candidate(
            kind=FindingKind.LEFTOVER,
            what=found.what,
            reason=told,
            job=found.job,
            point=found.point,
            service=found.service,
            remedy=Remedy(self.grace, twice=True, removes=True) if self._goes(found) else None,
        )

    def _goes(self, found: Finding) -> bool:
        """Return whether an inventory may remove a leftover; the object of a point that is good now stays."""
        word, _, _ = found.what.partition(" ")
        if word in ("part", "command") or found.what.startswith("vol-") or point_ids([word]):
            return False
        point = self.points.get(found.point) if word == "object" and point_ids([found.point]) else None
        return point is None or point.state in (PointState.FAILED, PointState.DELETED)

    def _unlisted(self, found: Sequence[Finding]) -> tuple[Candidate, ...]:
        """Return leftovers that are still there and for which the jobs' last commits had no room."""
        jobs, now = self.jobs.get_many({each.job for each in found}), self.now()
        more = [leftover(job, what, now) for job in jobs.values() for what in job.left[NOTED_AT_ONCE:]]
        known = self.findings.known(each.key for each in more)
        new = [each for each in more if each.place == self.place and each.key not in known]
        return self._seen(new[:NOTED_AT_ONCE]).candidates


def _keys_of(uploads: Uploads, id: str) -> Iterator[str]:
    """Yield the key of an upload that is still there."""
    marker, more = None, True
    while more:
        found, more = uploads.uploads_after(marker, 1000)
        yield from (each.key for each in found if each.id == id)
        marker = (found[-1].key, found[-1].id) if found else None


def _key(word: str, rest: str) -> str:
    """Return the key of an object (`object KEY`) or of a staged one (`staged VAULT:KEY`)."""
    return rest.partition(":")[2] if word == "staged" else rest


def _upload(what: str) -> str:
    """Return the id of an upload (`upload ID`, or the id alone)."""
    return what.removeprefix("upload ")
