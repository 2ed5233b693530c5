"""Off-site vaults when something is wrong: with the settings, the credentials, the provider itself."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from libcloud.common.exceptions import BaseHTTPError, RateLimitReachedError
from libcloud.common.types import InvalidCredsError, LibcloudError
from libcloud.storage.providers import get_driver
from requests.exceptions import ConnectTimeout

from chalicelib.errors import (
    Denied,
    FarshoreError,
    IntegrityFailure,
    Permanent,
    Throttled,
    Unavailable,
    VaultMissing,
)
from chalicelib.vaults.offsite import OffsiteVault, open_offsite
from chalicelib.vaults.offsite_stores import FolderStore


def open_local(folder: Path) -> OffsiteVault:
    """Open a vault in the folder `kept` of a folder."""
    (folder / "kept").mkdir(exist_ok=True)
    return open_offsite(
        "far", provider="LOCAL", container="kept", options={"key": str(folder)}, credentials={}
    )


def a_vault_over(folder: Path, store: type[FolderStore]) -> OffsiteVault:
    """Make a vault whose provider behaves as `store` does."""
    (folder / "kept").mkdir()

    def open_store() -> FolderStore:
        return store(get_driver("local")(key=str(folder)), "kept")

    return OffsiteVault("far", "a provider", "kept", open_store, open_store())


def test_an_unknown_provider_is_named_beside_the_known_ones() -> None:
    with pytest.raises(VaultMissing, match=r"no storage provider 'azzure'; it has .*azure_blobs.*local"):
        open_offsite("far", provider="azzure", container="kept", options={}, credentials={})


def test_a_local_folder_that_does_not_exist_is_a_missing_vault(tmp_path: Path) -> None:
    with pytest.raises(VaultMissing, match="vault far, provider local, container kept"):
        open_offsite(
            "far",
            provider="local",
            container="kept",
            options={"key": str(tmp_path / "not-there")},
            credentials={},
        )


@pytest.mark.parametrize("credentials", [{}, {"key": "account"}, {"key": "account", "secret": "x"}], ids=len)
def test_credentials_that_the_driver_cannot_take_are_denied(credentials: dict[str, str]) -> None:
    with pytest.raises(Denied, match="credentials"):
        open_offsite("far", provider="azure_blobs", container="kept", options={}, credentials=credentials)


def test_a_provider_that_does_not_answer_is_unavailable() -> None:
    vault = open_offsite(
        "far",
        provider="azure_blobs",
        container="kept",
        options={"host": "127.0.0.1", "port": 1, "secure": False},
        credentials={"key": "account", "secret": "c2VjcmV0"},
    )

    for attempt in (
        lambda: vault.put("key", b"x"),
        lambda: vault.get("key"),
        lambda: vault.read("key", 0, 1),
        lambda: vault.size("key"),
        lambda: list(vault.list("")),
        lambda: vault.delete("key"),
    ):
        with pytest.raises(Unavailable, match="far:"):
            attempt()


@pytest.mark.parametrize(
    ("raised", "ours"),
    [
        (InvalidCredsError(), Denied),
        (BaseHTTPError(403, "no"), Denied),
        (BaseHTTPError(422, "another MD5"), IntegrityFailure),
        (BaseHTTPError(400, "bad"), Permanent),
        (BaseHTTPError(503, "busy"), Unavailable),
        (RateLimitReachedError(), Throttled),
        (LibcloudError("Unexpected status code: 500"), Unavailable),
        (ConnectTimeout("slow"), Unavailable),
        (ConnectionResetError("reset"), Unavailable),
        (PermissionError("not yours"), Denied),
    ],
    ids=repr,
)
def test_what_libcloud_raises_becomes_ours_by_its_type(
    tmp_path: Path, raised: Exception, ours: type[FarshoreError]
) -> None:
    class Failing(FolderStore):
        def get(self, key: str) -> bytes:
            raise raised

    with pytest.raises(ours, match="GET failed on far:key") as failed:
        a_vault_over(tmp_path, Failing).get("key")
    assert failed.value.__cause__ is raised


def test_a_bug_stays_loud(tmp_path: Path) -> None:
    class Broken(FolderStore):
        def get(self, key: str) -> bytes:
            raise KeyError(key)

    with pytest.raises(KeyError):
        a_vault_over(tmp_path, Broken).get("key")


@pytest.mark.parametrize(
    "lie",
    [lambda data: data[:-1], lambda data: b"X" + data[1:], lambda data: data + b"!", lambda data: b""],
    ids=["cut", "changed", "longer", "lost"],
)
def test_a_provider_that_stores_other_bytes_is_found_out(
    tmp_path: Path, lie: Callable[[bytes], bytes]
) -> None:
    class Lying(FolderStore):
        def put(self, key: str, data: bytes) -> str | None:
            return super().put(key, lie(data))

    with pytest.raises(IntegrityFailure, match="far:key"):
        a_vault_over(tmp_path, Lying).put("key", b"the whole truth")


def test_a_put_that_fails_changes_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    vault = open_local(tmp_path)
    vault.put("key", b"old")

    with pytest.raises(Unavailable):
        vault.put("key/below", b"new")  # a file is no folder

    assert [found.key for found in vault.list("")] == ["key"]
    assert vault.get("key") == b"old"
    assert [path.name for path in (tmp_path / "kept").rglob("*") if path.is_file()] == ["key"]


def test_libcloud_itself_reads_what_lies_in_a_local_vault(tmp_path: Path) -> None:
    open_local(tmp_path).put("points/a/data", b"data")

    driver = get_driver("local")(key=str(tmp_path))
    found = driver.list_container_objects(driver.get_container("kept"))
    assert [(each.name, each.size) for each in found] == [("points/a/data", 4)]


def test_libcloud_is_not_imported_before_a_vault_is_opened() -> None:
    code = "import sys, chalicelib.vaults.offsite; sys.exit('libcloud' in sys.modules)"

    subprocess.run([sys.executable, "-c", code], check=True)
