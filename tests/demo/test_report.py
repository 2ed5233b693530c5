"""What the demo ends with, for people and for programs."""

import json
from datetime import timedelta
from typing import Any

import pytest

from demo.claims import Claim
from demo.report import Report, Restore, aligned, duration, spoken

STATUS: dict[str, Any] = {
    "points": {"service": {"primary": 3, "offsite": 2}, "snapshot": {"primary": 9}},
    "rpo": {"objective": "1d", "achieved": "39600s", "met": True},
}
NOTHING = {"points": {}, "rpo": {"objective": None, "achieved": None, "met": None}}


def report() -> Report:
    return Report(
        "local",
        wall_seconds=61.26,
        status={"orders-db": STATUS, "files": NOTHING},
        restores={"orders-db": Restore("service", "offsite", timedelta(seconds=60), 0.912)},
        calls_per_backup={"orders-db": {"nightly": 60}},
        calls_per_tick=1.0,
        calls={"s3": {"PutObject": 1000, "GetObject": 234}},
    )


def test_the_table_names_every_service_and_what_is_not_true() -> None:
    claims = [Claim("a", True, "seen"), Claim("b", False, "expected 1, found 2")]
    text = report().to_text(claims)
    assert "orders-db  service" in text
    assert "primary 3, offsite 2" in text
    assert "1 d" in text
    assert "11 h" in text
    assert "nightly 60" in text
    assert "1,234 AWS calls" in text
    assert "1 of 2 claims are true." in text
    assert text.endswith("NOT TRUE: b: expected 1, found 2")


def test_the_document_holds_the_same_and_is_json() -> None:
    document = json.loads(json.dumps(report().to_document([Claim("a", True, "seen")])))
    assert document["true"] is True
    assert document["claims"] == [{"name": "a", "true": True, "seen": "seen"}]
    orders = document["services"]["orders-db"]
    assert orders["recovery_points"] == STATUS["points"]
    assert (orders["restore"]["simulated_seconds"], orders["restore"]["wall_seconds"]) == (60, 0.91)
    assert document["services"]["files"]["restore"] is None
    assert document["calls"]["total"] == 1234


def test_a_document_without_claims_is_not_true() -> None:
    assert report().to_document([])["true"] is False


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0s", "0 s"),
        ("42s", "42 s"),
        ("60s", "1 min"),
        ("39661s", "11 h 1 min"),
        ("7d", "7 d"),
        ("25h", "1 d 1 h"),
    ],
)
def test_a_duration_is_said_in_its_two_largest_units(text: str, said: str) -> None:
    assert spoken(duration(text)) == said


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert aligned([("a", "b"), ("longer", "c"), ("", "d")]) == [
        "a       b",
        "------  -",
        "longer  c",
        "        d",
    ]
