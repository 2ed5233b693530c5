"""The manifest reads back as it was written; what is not a whole manifest is refused with its reason."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import IntegrityFailure
from chalicelib.vaults.manifest import (
    Manifest,
    PartHash,
    SegmentHash,
    SnapshotOf,
    check_describes,
    from_json,
    identity,
    to_json,
)

AT = datetime(2026, 1, 1, 2, 15, tzinfo=UTC)
WHERE = "azure:points/orders/manifest.json"


def a_service_manifest(**changes: Any) -> Manifest:
    """Make one of a service backup of 5 bytes in two segments."""
    values: dict[str, Any] = {
        "recovery_point": "rp-1",
        "service": "orders",
        "plan": "orders",
        "rule": "nightly",
        "kind": "service",
        "nominal_at": AT,
        "created_at": AT,
        "source": {"instance_id": "i-1"},
        "size_bytes": 5,
        "sha256": "a" * 64,
        "parts": (PartHash(5, "a" * 64),),
        "segments": (
            SegmentHash("segments/000001", 3, "b" * 64),
            SegmentHash("segments/000002", 2, "c" * 64),
        ),
    }
    return Manifest(**values | changes)


def a_snapshot_manifest() -> Manifest:
    """Make one of a recovery point of one snapshot."""
    snapshot = SnapshotOf("snap-1", "eu-central-1", "vol-1", "i-1", "/dev/sdf", 8, "io2", 800, None, True, "")
    return a_service_manifest(
        kind="snapshot", size_bytes=8 * 1024**3, sha256=None, parts=(), segments=(), snapshots=(snapshot,)
    )


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_a_manifest_reads_back_as_it_was_written(service: str, source: dict[str, str]) -> None:
    manifest = a_service_manifest(service=service, source=source)

    assert from_json(to_json(manifest), where=WHERE) == manifest
    assert from_json(to_json(manifest).encode(), where=WHERE) == manifest


def test_a_snapshot_manifest_reads_back_as_it_was_written() -> None:
    assert from_json(to_json(a_snapshot_manifest()), where=WHERE) == a_snapshot_manifest()


def test_times_are_written_in_utc() -> None:
    berlin = timezone(timedelta(hours=1))
    text = to_json(a_service_manifest(nominal_at=datetime(2026, 1, 1, 3, 15, tzinfo=berlin)))

    assert json.loads(text)["nominal_at"] == "2026-01-01T02:15:00Z"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format_version": 2}, "its format version is 2, and this Farshore reads 1"),
        ({"format_version": "1"}, "its format version is '1'"),
        ({"unknown": 1}, "unknown"),
        ({"size_bytes": "5"}, "size_bytes"),
        ({"size_bytes": -5}, "size_bytes"),
        ({"size_bytes": 6}, "its parts have 5 bytes together, and it says 6"),
        ({"sha256": "A" * 64}, "sha256"),
        ({"sha256": None, "parts": []}, "a service backup has a sha256 or parts"),
        ({"nominal_at": "2026-01-01T02:15:00"}, "nominal_at"),
        ({"kind": "image"}, "kind"),
        ({"kind": "snapshot"}, "a snapshot has neither sha256 nor parts nor segments"),
        ({"encryption": {"age": []}}, "encryption"),
        (
            {"segments": [{"key": "segments/000001", "size_bytes": 4, "sha256": "b" * 64}]},
            "its segments have 4",
        ),
        ({"segments": [{"key": "../x", "size_bytes": 5, "sha256": "b" * 64}]}, "segments/0/key"),
        ({"segments": [{"key": "/etc/x", "size_bytes": 5, "sha256": "b" * 64}]}, "segments/0/key"),
        ({"segments": [{"key": "a\nb", "size_bytes": 5, "sha256": "b" * 64}]}, "segments/0/key"),
    ],
)
def test_what_is_no_whole_manifest_is_refused_with_its_reason(change: dict[str, Any], reason: str) -> None:
    document = json.loads(to_json(a_service_manifest())) | change

    with pytest.raises(IntegrityFailure, match=reason) as refused:
        from_json(json.dumps(document), where=WHERE)
    assert refused.value.resource == WHERE


@pytest.mark.parametrize("key", sorted(json.loads(to_json(a_service_manifest()))))
def test_a_key_that_is_missing_is_no_default(key: str) -> None:
    document = json.loads(to_json(a_service_manifest()))
    del document[key]

    with pytest.raises(IntegrityFailure):
        from_json(json.dumps(document), where=WHERE)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '"x"', "\x00"])
def test_what_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(IntegrityFailure, match=WHERE):
        from_json(text, where=WHERE)


def test_a_manifest_that_was_cut_short_is_refused() -> None:
    text = to_json(a_service_manifest())

    for length in range(0, len(text) - 2, 7):
        with pytest.raises(IntegrityFailure):
            from_json(text[:length], where=WHERE)


def test_a_file_is_named_by_its_parts_whatever_is_known_of_the_whole() -> None:
    manifest = a_service_manifest(sha256=None)
    assert from_json(to_json(manifest), where=WHERE) == manifest
    named = identity(manifest.parts)
    check_describes(manifest, manifest.recovery_point, None, named, WHERE)

    others = [replace(part, sha256="e" * 64) for part in manifest.parts]
    assert len({named, identity(others), identity((*others, *others)), identity(())}) == 4
    for point, sha256 in (("rp-2", None), (manifest.recovery_point, "a" * 64)):
        with pytest.raises(IntegrityFailure, match="the catalog says"):
            check_describes(manifest, point, sha256, named, WHERE)
    with pytest.raises(IntegrityFailure, match="the catalog says"):
        check_describes(replace(manifest, parts=tuple(others)), manifest.recovery_point, None, named, WHERE)
