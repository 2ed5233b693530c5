"""What an inventory decides: what is due, what is dropped, when it looks again. Pure, but for the listing."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from chalicelib.catalog.location import Location
from chalicelib.catalog.recovery_point import PointState
from chalicelib.catalog.store.findings import Finding, FindingKind
from chalicelib.errors import Unavailable
from chalicelib.inventory.due_inventories import next_at
from chalicelib.inventory.folders import Listing, orphan_folder
from chalicelib.inventory.inventory import (
    Inventory,
    InventoryObservation,
    InventoryProgress,
    Note,
    Pause,
    Settle,
)
from chalicelib.inventory.survey import PAGE, Candidate, Remedy, SurveyPage, judge
from chalicelib.inventory.volumes import VolumeSurvey
from chalicelib.jobs.decision import Do, Fail, Finish, Wait
from chalicelib.jobs.job import AnyJob
from chalicelib.jobs.work import inventory_request
from chalicelib.vaults.layout import point_folder
from chalicelib.vaults.vault import StoredObject
from tests.jobs.made import HOUR, MINUTE, NONE, NOON, job_of, point_in

REGION = Location(region="eu-central-1")
KIND = FindingKind.ORPHAN_SNAPSHOT
DAY = timedelta(days=1)
INVENTORY = Inventory(NONE, lambda _: (VolumeSurvey(NONE, NONE),), lambda: NOON)


def _candidate(remedy: Remedy | None, **rest: Any) -> Candidate:
    return Candidate(KIND, "snap-1", "it is of nothing", remedy=remedy, **rest)


def _finding(since: datetime, **rest: Any) -> Finding:
    return Finding(REGION, KIND, "snap-1", "it is of nothing", since=since, last_seen=since, **rest)


@pytest.mark.parametrize(
    ("remedy", "seen_ago", "due"),
    [
        (None, 10 * DAY, False),
        (Remedy(DAY, twice=True), None, False),
        (Remedy(DAY, twice=True), 23 * HOUR, False),
        (Remedy(DAY, twice=True), 25 * HOUR, True),
        (Remedy(twice=True), None, False),
        (Remedy(twice=True), MINUTE, False),  # by this inventory
        (Remedy(twice=True), 2 * HOUR, True),
        (Remedy(10 * MINUTE), 9 * MINUTE, False),
        (Remedy(10 * MINUTE), 10 * MINUTE, True),
        (Remedy(), None, True),
    ],
)
def test_what_is_due_was_seen_long_enough_ago_and_by_an_earlier_inventory_where_that_is_asked(
    remedy: Remedy | None, seen_ago: timedelta | None, due: bool
) -> None:
    began_at = NOON - HOUR
    before = [_finding(NOON - seen_ago)] if seen_ago is not None else []
    known = {each.key: each for each in before}
    judged = judge(REGION, SurveyPage((_candidate(remedy),)), known, began_at, NOON)
    assert judged.due == (("snap-1",) if due else ())
    [finding] = judged.findings
    assert (finding.since, finding.last_seen) == (NOON - (seen_ago or timedelta(0)), NOON)


def test_only_what_will_be_removed_says_when() -> None:
    removed, marked = (_candidate(Remedy(DAY, removes=removes)) for removes in (True, False))
    told = [judge(REGION, SurveyPage((each,)), {}, NOON, NOON).findings[0] for each in (removed, marked)]
    assert [each.removed_after for each in told] == [NOON + DAY, None]
    unsaid = judge(REGION, SurveyPage((replace(marked, unsaid=True),)), {}, NOON, NOON)
    assert unsaid.findings == ()


def _job(**progress: Any) -> AnyJob:
    request = inventory_request(REGION, "test", NOON)
    return job_of(request, InventoryProgress(**{"began_at": NOON, **progress}))


def test_a_page_is_recorded_with_its_cursor_and_what_is_due_is_settled_before_the_next() -> None:
    sight = SurveyPage((_candidate(Remedy(removes=True)),), looked_at=3, cursor="more")
    note = INVENTORY.decide(_job(), InventoryObservation(sight), NOON)
    assert isinstance(note, Do)
    assert isinstance(note.action, Note)
    progress = note.action.progress
    assert (progress.cursor, progress.due, progress.survey, progress.looked_at) == ("more", ("snap-1",), 0, 3)
    settle = INVENTORY.decide(_job(cursor="more", due=("snap-1",)), InventoryObservation(sight), NOON)
    assert isinstance(settle, Do)
    assert isinstance(settle.action, Settle)
    assert settle.intent == "removing snap-1"


def test_what_a_second_look_does_not_show_again_is_not_settled() -> None:
    decision = INVENTORY.decide(
        _job(due=("snap-1",)), InventoryObservation(SurveyPage(untrue=((KIND, "snap-1"),))), NOON
    )
    assert isinstance(decision, Do)
    assert decision.intent is None
    assert decision.action == Settle((), {}, ("snap-1",), (_finding(NOON).key,))


def test_findings_that_were_not_found_again_are_dropped_at_the_end() -> None:
    old, new = _finding(NOON - DAY), replace(_finding(NOON), what="snap-2")
    unseen = replace(new, kind=FindingKind.NOT_LOOKED_AT)
    finish = INVENTORY.decide(_job(survey=1), InventoryObservation(findings=(old, new, unseen)), NOON)
    assert isinstance(finish, Finish)
    assert [(write.key, write.deletes) for write in finish.writes] == [(old.key, True), (unseen.key, True)]
    page = tuple(replace(old, what=f"snap-{number}") for number in range(PAGE))
    more = INVENTORY.decide(_job(survey=1), InventoryObservation(findings=page), NOON)
    assert isinstance(more, Do)
    assert isinstance(more.action, Note)
    assert more.action.progress.cursor == page[-1].key[1]


def test_a_place_that_cannot_be_looked_at_is_looked_at_again_and_then_left_to_the_next_inventory() -> None:
    error = Unavailable("no answer", operation="DescribeSnapshots")
    pause = INVENTORY.decide(_job(cursor="c"), InventoryObservation(unseen=error), NOON)
    assert isinstance(pause, Do)
    assert isinstance(pause.action, Pause)
    assert (pause.action.restart, "no answer" in pause.action.finding.reason) == (False, True)
    assert isinstance(INVENTORY.decide(_job(failed_looks=6), InventoryObservation(unseen=error), NOON), Fail)


def test_a_survey_that_is_a_second_look_waits_for_it() -> None:
    later = VolumeSurvey(NONE, NONE, after=10 * MINUTE)
    inventory = Inventory(NONE, lambda _: (later,), lambda: NOON)
    waits = inventory.decide(_job(suspected_at=NOON - MINUTE), InventoryObservation(), NOON)
    assert isinstance(waits, Wait)
    assert waits.until == NOON + 9 * MINUTE
    for suspected_at in (None, NOON - 10 * MINUTE):
        assert isinstance(inventory.decide(_job(suspected_at=suspected_at), InventoryObservation(), NOON), Do)


@pytest.mark.parametrize(
    ("hour", "minute", "day"), [(0, 0, 1), (1, 39, 1), (1, 40, 2), (12, 0, 2), (23, 59, 2)]
)
def test_the_next_inventory_is_the_next_at_its_time_of_day(hour: int, minute: int, day: int) -> None:
    now = NOON.replace(day=1, hour=hour, minute=minute)
    assert next_at(now) == NOON.replace(day=day, hour=1, minute=40)


class _Vault:
    """A listing that counts how often it is begun."""

    name = "v"

    def __init__(self, keys: list[str]) -> None:
        self.keys = keys
        self.begun = 0

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        self.begun += 1
        return iter([StoredObject(key, 1) for key in self.keys if key > after])


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_listing_is_gone_on_with_and_begun_again_only_where_it_must_be(size: int) -> None:
    vault: Any = _Vault([f"{number:03d}" for number in range(10)])
    listing, seen, after = Listing(vault, ""), list[str](), ""
    while page := _take(listing, after, size):
        seen, after = [*seen, *page], page[-1]
    assert seen == vault.keys
    assert vault.begun <= 2, "once, and once for nothing behind the last"
    assert _take(Listing(vault, ""), "004", 2) == ["005", "006"]
    assert _take(listing, "001", 2) == ["002", "003"]


def _take(listing: Listing, after: str, size: int) -> list[str]:
    taken: list[str] = []
    for stored in listing.take(after, lambda _: len(taken) == size):
        taken.append(stored.key)
    return taken


@pytest.mark.parametrize(
    ("state", "artefact", "pins", "removed"),
    [
        (PointState.FAILED, None, {}, True),
        (PointState.DELETED, PointState.DELETED, {}, True),
        (PointState.AVAILABLE, PointState.DELETED, {}, False),
        (PointState.AVAILABLE, None, {}, False),
        (PointState.CREATING, None, {}, None),
        (PointState.AVAILABLE, None, {"primary": frozenset({"copy-1"})}, None),
        (PointState.AVAILABLE, PointState.AVAILABLE, {}, None),
        (PointState.AVAILABLE, PointState.FAILED, {}, None),
        (PointState.MISSING, PointState.MISSING, {}, None),
        (PointState.EXPIRED, PointState.EXPIRED, {}, None),
    ],
)
def test_a_folder_goes_only_when_its_point_is_known_to_be_gone(
    state: PointState, artefact: PointState | None, pins: Any, removed: bool | None
) -> None:
    point = point_in("dr", state=artefact) if artefact else point_in()
    point = replace(point, state=state, pins=pins)
    folder = point_folder(point.service, point.rule, point.nominal_at, point.id)
    orphan = orphan_folder(folder, "dr", point, DAY)
    assert (orphan.remedy is not None if orphan else None) == removed
    elsewhere = orphan_folder(folder.replace("points/s/", "points/t/"), "dr", point, DAY)
    assert elsewhere is not None
    assert elsewhere.remedy is None
