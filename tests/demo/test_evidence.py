"""Every claim can turn out false: here each kind meets what would make it so."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from demo import database
from demo.claims import Claims
from demo.evidence import kept, replaced, restored
from demo.files import Volume
from demo.ground import DemoCloud, Server
from demo.group import Group

NIGHT = datetime(2026, 11, 22, 1, tzinfo=UTC)


def silent() -> Claims:
    return Claims(lambda claim: None)


def point(night: datetime, **states: str) -> dict[str, Any]:
    return {
        "id": f"rp-{night:%d}",
        "state": "AVAILABLE",
        "nominal_at": night.isoformat(),
        "artefacts": [{"vault": vault, "state": state} for vault, state in states.items()],
    }


def lineage(*points: dict[str, Any]) -> kept.Lineage:
    expected = [NIGHT, NIGHT + timedelta(days=1)]
    return kept.Lineage("s", {"name": "r", "lifecycle": {"count": 1}, "copies": []}, expected, list(points))


OLD, NEW = NIGHT, NIGHT + timedelta(days=1)


def test_no_claims_at_all_prove_nothing() -> None:
    assert not silent().all_true


def test_one_false_claim_spoils_all() -> None:
    claims = silent()
    claims.check("a", True, "")
    assert claims.all_true
    claims.same("b", 1, 2, "")
    assert not claims.all_true
    assert claims.made[1].seen == "expected 1, found 2"


def test_a_night_that_was_missed_or_doubled_is_seen() -> None:
    for points in ([point(OLD)], [point(OLD), point(NEW), point(NEW)]):
        claims = silent()
        kept.check_made(claims, lineage(*points))
        assert not claims.all_true
    claims = silent()
    kept.check_made(claims, lineage(point(OLD), point(NEW)))
    assert claims.all_true


def test_too_much_and_too_little_that_is_left_is_seen() -> None:
    for old, new, true in (
        ("DELETED", "AVAILABLE", True),
        ("AVAILABLE", "AVAILABLE", False),
        ("DELETED", "DELETED", False),
        ("AVAILABLE", "DELETED", False),
    ):
        claims = silent()
        kept.check_left(claims, lineage(point(OLD, primary=old), point(NEW, primary=new)), NEW)
        assert claims.all_true is true


def test_a_point_without_a_reason_is_seen() -> None:
    points = [point(OLD, primary="DELETED"), point(NEW, primary="AVAILABLE")]
    gone = {"recovery_point": "rp-22", "vault": "primary", "keep": False, "reason": "too old"}
    stays = {"recovery_point": "rp-23", "vault": "primary", "keep": True, "reason": "the newest"}
    for judged, true in (
        ([gone, stays], True),
        ([gone], False),
        ([gone, {**stays, "reason": ""}], False),
        ([{**gone, "keep": True}, stays], False),
    ):
        claims = silent()
        kept.check_reasons(claims, points, kept.verdicts_of([{"judged": judged}]))
        assert claims.all_true is true


def test_the_last_verdict_counts() -> None:
    newest_first = [
        {"judged": [{"recovery_point": "p", "vault": "v", "keep": keep}]} for keep in (False, True)
    ]
    assert kept.verdicts_of(newest_first)["p", "v"]["keep"] is False


def test_a_database_is_written_to_and_read_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "orders.db"
    with database.OrderEntry(file, seed=1) as orders:
        entered = database.FIRST_ORDERS
        while orders.rows == entered:
            pass
    found = database.read(file)
    assert found.rows == orders.rows > entered
    assert (found.integrity, found.ledger_agrees) == ("ok", True)


def test_a_torn_or_another_database_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "orders.db"
    database.OrderEntry(file, seed=1)
    whole = database.read(file)
    noted = (whole.sha256, whole.rows)
    claims = silent()
    restored.check_database(claims, whole, noted)
    assert claims.all_true

    with closing(sqlite3.connect(file)) as changed:
        changed.execute("DELETE FROM orders WHERE id = 7")
        changed.commit()
    claims = silent()
    restored.check_database(claims, database.read(file), noted)
    assert [claim.true for claim in claims.made] == [False, False, True, False]


def test_a_replacement_that_lacks_anything_is_seen(tmp_path: Path) -> None:
    database.OrderEntry(tmp_path / "orders.db", seed=1)
    whole = database.read(tmp_path / "orders.db")
    ground = DemoCloud("", Server(""), Server(""), {})
    good = {
        "sha256": whole.sha256,
        "rows": whole.rows,
        "states": [replaced.WAITS, "InService"],
        "after": "i-2",
    }
    for change in (
        {},
        {"sha256": "another"},
        {"rows": whole.rows - 1},
        {"states": ["InService"]},
        {"after": "i-1"},
        {"origin": "schedule"},
    ):
        seen: dict[str, Any] = {"origin": "termination", **good, **change}
        notes = {"job": (seen["sha256"], whole.rows)}
        replacement = replaced.Replacement(ground, Group(ground), "i-1", "i-2", notes, seen["states"])
        claims = silent()
        replaced.check_saved(claims, replacement, seen, "job")
        replaced.check_came_up(claims, replacement, tmp_path, "job", seen["rows"])
        replaced.check_address(claims, replacement, "i-1", seen["after"])
        assert claims.all_true is not bool(change)
        assert sum(not claim.true for claim in claims.made) == len(change)


def test_a_volume_knows_what_it_holds_and_any_difference_is_seen(tmp_path: Path) -> None:
    volume = Volume(tmp_path, seed=1)
    volume.fill(files=8, size_bytes=1000)
    before = dict(volume.tree)
    for day in range(1, 9):
        volume.pass_a_day(day)
    assert before != volume.tree

    claims = silent()
    restored.check_volume(claims, "vol-1", volume.tree, before, tmp_path)
    assert claims.all_true
    for spoil in (
        lambda: (tmp_path / "archive" / "007.bin").write_bytes(b"other"),
        lambda: (tmp_path / "archive" / "007.bin").unlink(),
        lambda: (tmp_path / "more").write_bytes(b""),
    ):
        spoil()
        claims = silent()
        restored.check_volume(claims, "vol-1", volume.tree, before, tmp_path)
        assert not claims.made[0].true
