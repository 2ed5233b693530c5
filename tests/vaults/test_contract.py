"""What every vault promises, held against every kind of vault."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib.errors import IntegrityFailure, NotFound, VaultMissing
from chalicelib.vaults.layout import encode_name, segment_key
from chalicelib.vaults.vault import StoredObject, Vault
from tests.vaults.conftest import VaultGround

FOLDER = "points/orders-db/nightly/20260101T021500Z-rp/"
EVERY_BYTE = bytes(range(256)) * 300


@pytest.mark.parametrize(
    "data", [b"x", EVERY_BYTE, b"\x00" * 5_000_000], ids=["one byte", "every byte", "5 MB"]
)
def test_what_is_put_comes_back(vault: Vault, data: bytes) -> None:
    vault.put(FOLDER + "data", data)

    assert vault.get(FOLDER + "data") == data
    assert vault.size(FOLDER + "data") == len(data)


def test_an_empty_object_is_an_object(vault: Vault) -> None:
    vault.put("empty", b"")

    assert vault.size("empty") == 0
    assert vault.get("empty") == b""


def test_a_second_put_replaces_the_first_though_it_is_shorter(vault: Vault) -> None:
    vault.put("key", b"a long first text")
    vault.put("key", b"short")

    assert vault.get("key") == b"short"
    assert vault.size("key") == 5


@pytest.mark.parametrize(
    ("start", "length"),
    [(0, 1), (0, len(EVERY_BYTE)), (1, 2), (255, 2), (len(EVERY_BYTE) - 1, 1), (4096, 70_000)],
)
def test_a_range_is_exactly_the_bytes_asked_for(vault: Vault, start: int, length: int) -> None:
    vault.put("key", EVERY_BYTE)

    assert vault.read("key", start, length) == EVERY_BYTE[start : start + length]


@pytest.mark.parametrize(
    ("start", "length"),
    [(0, len(EVERY_BYTE) + 1), (len(EVERY_BYTE) - 1, 2), (len(EVERY_BYTE), 1), (10 * len(EVERY_BYTE), 10)],
)
def test_a_range_that_reaches_past_the_end_is_an_integrity_failure(
    vault: Vault, start: int, length: int
) -> None:
    vault.put("key", EVERY_BYTE)

    with pytest.raises(IntegrityFailure, match=f"the-kept:key.*ends before byte {start + length}"):
        vault.read("key", start, length)


def test_a_range_of_an_object_cut_short_behind_our_back_is_an_integrity_failure(ground: VaultGround) -> None:
    ground.vault.put("key", b"0123456789")
    ground.lay("key", b"01234")

    with pytest.raises(IntegrityFailure):
        ground.vault.read("key", 0, 10)


def test_what_is_not_there_is_named(vault: Vault) -> None:
    vault.put("another", b"x")

    with pytest.raises(NotFound, match="the-kept:key"):
        vault.get("key")
    with pytest.raises(NotFound, match="the-kept:key"):
        vault.read("key", 0, 1)
    assert vault.size("key") is None


def test_a_folder_is_not_an_object(vault: Vault) -> None:
    vault.put("folder/key", b"x")

    assert vault.size("folder") is None
    with pytest.raises(NotFound):
        vault.get("folder")


def test_a_listing_holds_what_starts_with_the_prefix_and_nothing_else(vault: Vault) -> None:
    for key in ("points/a/1", "points/a/22", "points/ab/3", "points/b", "restore.sh"):
        vault.put(key, key.encode())

    assert set(vault.list("points/a")) == {
        StoredObject("points/a/1", 10),
        StoredObject("points/a/22", 11),
        StoredObject("points/ab/3", 11),
    }
    assert set(vault.list("points/a/")) == {StoredObject("points/a/1", 10), StoredObject("points/a/22", 11)}
    assert {found.key for found in vault.list("")} >= {"restore.sh", "points/b"}
    assert list(vault.list("nothing/")) == []


def test_a_listing_is_in_the_order_of_the_keys_and_can_begin_behind_any(vault: Vault) -> None:
    keys = ["points/a-b/1", "points/a/1", "points/a/1x", "points/a/2", "points/a_/1", "points/b"]
    for key in reversed(keys):
        vault.put(key, b"x")

    assert [found.key for found in vault.list("points/")] == keys
    assert [found.key for found in vault.list("points/", "points/a/1")] == keys[2:]
    assert [found.key for found in vault.list("points/", "points/a/10")] == keys[2:]
    assert list(vault.list("points/", "points/b")) == []


@pytest.mark.long
def test_a_listing_goes_on_over_many_pages(ground: VaultGround) -> None:
    keys = [segment_key(FOLDER, number) for number in range(1, 1004)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: ground.lay(key, b"x"), keys))

    assert sorted(found.key for found in ground.vault.list(FOLDER)) == keys


def test_a_deleted_object_is_gone_and_deleting_it_again_is_no_error(vault: Vault) -> None:
    vault.put("folder/key", b"x")
    vault.put("folder/other", b"y")

    vault.delete("folder/key")
    vault.delete("folder/key")
    vault.delete("never/was")

    assert vault.size("folder/key") is None
    assert [found.key for found in vault.list("")] == ["folder/other"]


def test_a_missing_bucket_or_container_is_named_and_never_taken_for_an_empty_one(ground: VaultGround) -> None:
    missing = ground.missing
    for attempt in (
        lambda: missing.put("key", b"x"),
        lambda: missing.get("key"),
        lambda: missing.read("key", 0, 1),
        lambda: missing.size("key"),
        lambda: list(missing.list("")),
        lambda: missing.delete("key"),
    ):
        with pytest.raises(VaultMissing, match=r"vault the-not-there .*not-there"):
            attempt()


def test_names_of_every_sort_make_keys_that_every_vault_takes(vault: Vault) -> None:
    names = [
        "orders db",
        "bestellungen-ü/日本",
        "..",
        "100% 'quoted' \"name\"",
        "a_b",
        "~$&+=?#:;,@*",
        "x" * 256,
    ]
    keys = [f"points/{encode_name(name)}/nightly/data" for name in names]
    for number, key in enumerate(keys):
        vault.put(key, str(number).encode())

    assert [vault.get(key) for key in keys] == [str(number).encode() for number in range(len(names))]
    assert {found.key for found in vault.list("points/")} == set(keys)


def test_threads_may_share_a_vault(vault: Vault) -> None:
    def write_and_read(number: int) -> bool:
        data = bytes([number]) * 100_000
        vault.put(f"segments/{number:06d}", data)
        return vault.read(f"segments/{number:06d}", 0, len(data)) == data

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(write_and_read, range(1, 65)))
