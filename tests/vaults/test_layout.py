"""Keys and sizes: no two names share a folder, no piece is lost, no upload outgrows S3."""

import re
from datetime import UTC, datetime, timedelta, timezone
from itertools import accumulate, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.vaults.layout import (
    LARGEST_PART_BYTES,
    MAX_PARTS,
    MIB,
    SEGMENT_BYTES,
    encode_name,
    part_sizes,
    point_folder,
    segment_key,
    segments,
    service_folder,
)

SAFE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,119}")
TIB = 1024**4


@given(st.text(max_size=300))
def test_any_name_becomes_one_safe_path_component(name: str) -> None:
    assert SAFE.fullmatch(encode_name(name.encode("utf-8", "replace").decode()))


@given(st.lists(st.text(alphabet="ab_-.5F/ ü\x00", max_size=200), min_size=2, max_size=2, unique=True))
def test_different_names_never_share_a_folder(names: list[str]) -> None:
    first, second = names

    assert encode_name(first) != encode_name(second)


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("orders-db.v2", "orders-db.v2"),
        ("orders_db", "orders__db"),
        ("orders db", "orders_20db"),
        ("..", "_2E."),
        ("", "_-"),
        ("\x00", "_00"),
        ("ü", "_C3_BC"),
        ("a/b", "a_2Fb"),
    ],
)
def test_names_stay_readable(name: str, encoded: str) -> None:
    assert encode_name(name) == encoded


def test_a_point_lies_under_its_service_and_rule_in_order_of_time() -> None:
    early = datetime(2026, 3, 29, 0, 15, tzinfo=UTC)
    berlin = timezone(timedelta(hours=2))

    assert point_folder("orders db", "nightly", early, "rp-1") == (
        "points/orders_20db/nightly/20260329T001500Z-rp-1/"
    )
    assert point_folder("orders db", "nightly", early.astimezone(berlin), "rp-1") == point_folder(
        "orders db", "nightly", early, "rp-1"
    )
    assert point_folder("orders db", "nightly", early, "rp-1").startswith(
        service_folder("orders db", "nightly")
    )


def test_five_tebibytes_fit_in_the_parts_that_s3_takes() -> None:
    sizes = list(part_sizes())

    assert len(sizes) == MAX_PARTS
    assert sum(sizes) >= 5 * TIB
    assert all(5 * MIB <= size <= LARGEST_PART_BYTES for size in sizes)
    assert all(size % MIB == 0 for size in sizes)
    assert sizes == sorted(sizes)


def test_three_hundred_parts_hold_79_gib() -> None:
    assert sum(islice(part_sizes(), 300)) // 1024**3 == 79


@given(st.integers(0, 10_000), st.integers(1, 500))
def test_segments_cover_a_file_without_gap_or_overlap(size: int, segment_bytes: int) -> None:
    pieces = list(segments(size, segment_bytes))

    assert [piece.number for piece in pieces] == list(range(1, len(pieces) + 1))
    assert [piece.start for piece in pieces] == list(
        accumulate((piece.size_bytes for piece in pieces[:-1]), initial=0)
    )[: len(pieces)]
    assert sum(piece.size_bytes for piece in pieces) == size
    assert all(piece.size_bytes == segment_bytes for piece in pieces[:-1])
    assert all(piece.size_bytes > 0 for piece in pieces)


def test_a_segment_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="0 bytes"):
        list(segments(10, 0))


def test_segments_sort_by_their_number_up_to_five_tebibytes() -> None:
    most = 5 * TIB // SEGMENT_BYTES

    assert segment_key("f/", 9) < segment_key("f/", 10) < segment_key("f/", most)
