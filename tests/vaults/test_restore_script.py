"""`restore.sh`, really run on an off-site vault: no AWS, no Farshore, a folder or a web server alone."""

import functools
import hashlib
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from chalicelib.vaults.layout import data_key, manifest_key, point_folder, segment_name, segments
from chalicelib.vaults.manifest import Manifest, PartHash, SegmentHash, SnapshotOf, to_json
from chalicelib.vaults.offsite import open_offsite
from chalicelib.vaults.restore_script import put_restore_script
from chalicelib.vaults.vault import Vault
from tests.support.shells import SHELLS, require

NOMINAL = datetime(2026, 1, 1, 2, 15, tzinfo=UTC)
FOLDER = point_folder("orders db", "nightly", NOMINAL, "rp-1")
DATA = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(256)) * 40
SEGMENT_BYTES = 100_000
MIB = 1048576


@dataclass(frozen=True, slots=True)
class Kept:
    """An off-site vault with one service backup in it, and a shell to open it with."""

    vault: Vault
    root: Path
    shell: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """The recovery point's folder, as a file system has it."""
        return self.root / FOLDER

    def restore(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run the script that lies in the vault."""
        return subprocess.run(
            [*self.shell, str(self.root / "restore.sh"), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(params=SHELLS)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    """Keep `DATA` in segments in a folder, under each shell in turn."""
    require(request.param)
    root = tmp_path / "kept"
    root.mkdir()
    vault = open_offsite(
        "offsite", provider="local", container="kept", options={"key": str(tmp_path)}, credentials={}
    )
    put_restore_script(vault)
    vault.put(manifest_key(FOLDER), to_json(a_manifest()).encode())
    for segment in a_manifest().segments:
        start = (int(segment.key.rsplit("/")[-1]) - 1) * SEGMENT_BYTES
        vault.put(FOLDER + segment.key, DATA[start : start + SEGMENT_BYTES])
    return Kept(vault, root, request.param)


def a_manifest() -> Manifest:
    """Describe `DATA` in segments."""
    return Manifest(
        recovery_point="rp-1",
        service='orders "db"\n  "kind": "snapshot",',  # a name that looks like a line of the manifest
        plan="orders",
        rule="nightly",
        kind="service",
        nominal_at=NOMINAL,
        created_at=NOMINAL,
        source={"instance_id": "i-1", "size_bytes": "7"},
        size_bytes=len(DATA),
        sha256=hashlib.sha256(DATA).hexdigest(),
        segments=tuple(
            SegmentHash(
                segment_name(piece.number),
                piece.size_bytes,
                hashlib.sha256(DATA[piece.start : piece.start + piece.size_bytes]).hexdigest(),
            )
            for piece in segments(len(DATA), SEGMENT_BYTES)
        ),
    )


@contextmanager
def served(root: Path) -> Iterator[str]:
    """Serve a folder on loopback to those who bring the query of a signed URL."""

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.endswith("?sig=a%2Fb&se=1"):
                super().do_GET()
            else:
                self.send_error(403)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(root)))
    thread = threading.Thread(
        target=server.serve_forever, args=(0.01,)
    )  # looks so often whether it is to end
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_segments_become_the_file_again(kept: Kept, tmp_path: Path) -> None:
    ended = kept.restore(str(kept.folder), str(tmp_path / "the output"))

    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "the output").read_bytes() == DATA
    assert [path.name for path in tmp_path.iterdir() if path.name != "kept"] == ["the output"]


def in_parts(*sizes: int) -> Manifest:
    """Describe `DATA` as an object whose parts alone have hashes."""
    data, parts = DATA, []
    for size in sizes:
        parts.append(PartHash(size, hashlib.sha256(data[:size]).hexdigest()))
        data = data[size:]
    return replace(a_manifest(), sha256=None, segments=(), parts=tuple(parts))


@pytest.mark.parametrize("segmented", [False, True])
def test_a_file_without_a_hash_of_the_whole_is_checked_by_its_parts(
    kept: Kept, tmp_path: Path, segmented: bool
) -> None:
    manifest = in_parts(len(DATA))
    manifest = replace(manifest, segments=a_manifest().segments) if segmented else manifest
    kept.vault.put(manifest_key(FOLDER), to_json(manifest).encode())
    kept.vault.put(data_key(FOLDER), DATA)

    ended = kept.restore(str(kept.folder), str(tmp_path / "output"))

    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "output").read_bytes() == DATA


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_part_that_is_not_what_was_backed_up_opens_nothing(kept: Kept, tmp_path: Path, number: int) -> None:
    data = DATA * 9
    cuts = ((0, MIB), (MIB, 2 * MIB), (2 * MIB, len(data)))
    parts = tuple(PartHash(b - a, hashlib.sha256(data[a:b]).hexdigest()) for a, b in cuts)
    wrong = [replace(part, sha256="f" * 64) if n == number else part for n, part in enumerate(parts, 1)]
    manifest = replace(in_parts(1), size_bytes=len(data), parts=parts)
    kept.vault.put(data_key(FOLDER), data)
    kept.vault.put(manifest_key(FOLDER), to_json(manifest).encode())
    assert kept.restore(str(kept.folder), str(tmp_path / "output")).returncode == 0

    kept.vault.put(manifest_key(FOLDER), to_json(replace(manifest, parts=tuple(wrong))).encode())
    ended = kept.restore(str(kept.folder), str(tmp_path / "other"))

    assert ended.returncode == 1
    assert f"the SHA-256 of a part should be {'f' * 64}" in ended.stderr
    assert not (tmp_path / "other").exists()


def test_a_backup_kept_whole_is_opened_too(kept: Kept, tmp_path: Path) -> None:
    kept.vault.put(manifest_key(FOLDER), to_json(replace(a_manifest(), segments=())).encode())
    kept.vault.put(data_key(FOLDER), DATA)

    ended = kept.restore(str(kept.folder) + "/", str(tmp_path / "output"))

    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "output").read_bytes() == DATA


@pytest.mark.parametrize("name", ["segments/000001", "segments/000003", "segments/000004"])
@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
def test_a_corrupt_segment_is_named_and_nothing_is_written(
    kept: Kept, tmp_path: Path, name: str, damage: str
) -> None:
    path = kept.folder / name
    match damage:
        case "changed":
            path.write_bytes(b"\x00" + path.read_bytes()[1:])
        case "cut":
            path.write_bytes(path.read_bytes()[:-1])
        case _:
            path.unlink()

    ended = kept.restore(str(kept.folder), str(tmp_path / "output"))

    assert ended.returncode == 1
    assert name in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_missing_segment_line_is_found_out_at_the_end(kept: Kept, tmp_path: Path) -> None:
    text = (kept.folder / "manifest.json").read_text().splitlines(keepends=True)
    (kept.folder / "manifest.json").write_text("".join(line for line in text if "000002" not in line))

    ended = kept.restore(str(kept.folder), str(tmp_path / "output"))

    assert ended.returncode == 1
    assert "the whole is corrupt" in ended.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('"encryption": null', '"encryption": {"age": ["age1..."]}'), "is encrypted"),
        (('"encryption": null', '"encryption": "age"'), "is encrypted (age)"),
        (('"format_version": 1', '"format_version": 2'), "format version 2"),
        (('"segments/000001"', '"../../000001"'), "outside of its folder"),
        (('  "kind": "service",\n', ""), "no kind"),
    ],
)
def test_a_manifest_that_it_cannot_open_is_refused(
    kept: Kept, tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    path = kept.folder / "manifest.json"
    path.write_text(path.read_text().replace(*change))

    ended = kept.restore(str(kept.folder), str(tmp_path / "output"))

    assert ended.returncode == 1
    assert said in ended.stderr
    assert not (tmp_path / "output").exists()


def test_a_snapshot_has_no_file_to_restore(kept: Kept, tmp_path: Path) -> None:
    manifest = replace(
        a_manifest(),
        kind="snapshot",
        sha256=None,
        segments=(),
        snapshots=(
            SnapshotOf("snap-1", "eu-central-1", "vol-1", "i-1", "/dev/sdf", 8, "gp3", 3000, 125, False, ""),
        ),
    )
    kept.vault.put(manifest_key(FOLDER), to_json(manifest).encode())

    ended = kept.restore(str(kept.folder), str(tmp_path / "output"))

    assert ended.returncode == 1
    assert "is a snapshot" in ended.stderr


def test_a_file_that_exists_is_not_overwritten(kept: Kept, tmp_path: Path) -> None:
    (tmp_path / "output").write_text("mine")

    assert kept.restore(str(kept.folder), str(tmp_path / "output")).returncode == 1
    assert (tmp_path / "output").read_text() == "mine"
    assert kept.restore(str(kept.folder)).returncode == 2


def test_a_vault_behind_a_url_is_opened_with_its_query(kept: Kept, tmp_path: Path) -> None:
    with served(kept.root) as url:
        ended = kept.restore(f"{url}/{FOLDER}?sig=a%2Fb&se=1", str(tmp_path / "output"))
        refused = kept.restore(f"{url}/{FOLDER}?sig=wrong", str(tmp_path / "other"))

    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "output").read_bytes() == DATA
    assert refused.returncode == 1
    assert "manifest.json" in refused.stderr


def on_a_small_disk(
    kept: Kept, disk: Path, kibibytes: int, folder: str
) -> "subprocess.CompletedProcess[str]":
    """Restore to a disk of this size."""
    mount = f"mount -t tmpfs -o size={kibibytes}k tmpfs {disk}"
    restore = f'{" ".join(kept.shell)} {kept.root}/restore.sh "$0" {disk}/output'
    command = f"{mount} && {restore}; code=$?; ls {disk}; exit $code"
    ended = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", command, folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare failed" in ended.stderr or "mount: " in ended.stderr:
        pytest.skip(f"this machine lets nobody mount a disk: {ended.stderr}")
    return ended


@pytest.mark.parametrize("kibibytes", [16, 200, 380], ids=["no segment", "two segments", "all but the last"])
@pytest.mark.parametrize("place", ["a folder", "a url"])
def test_a_full_disk_is_told_as_such_and_not_as_a_vault_that_cannot_be_read(
    kept: Kept, tmp_path: Path, kibibytes: int, place: str
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with served(kept.root) as url:
        folder = str(kept.folder) if place == "a folder" else f"{url}/{FOLDER}?sig=a%2Fb&se=1"
        ended = on_a_small_disk(kept, disk, kibibytes, folder)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"{disk}/output.p" in ended.stderr
    assert f" cannot be written, 0 KiB are free there; the backup has {len(DATA)} bytes, and" in ended.stderr
    assert "name an OUTPUT on a larger disk" in ended.stderr
    assert "cannot be read" not in ended.stderr


def test_a_place_that_cannot_be_written_to_is_told_as_such(kept: Kept, tmp_path: Path) -> None:
    ended = kept.restore(str(kept.folder), str(tmp_path / "nowhere" / "output"))

    assert ended.returncode == 1
    assert f"{tmp_path}/nowhere/output.manifest cannot be written" in ended.stderr


def test_a_vault_that_cannot_be_read_is_told_with_what_helps(kept: Kept, tmp_path: Path) -> None:
    for folder in (str(tmp_path / "nowhere"), "http://127.0.0.1:1/nowhere"):
        ended = kept.restore(folder, str(tmp_path / "output"))
        assert ended.returncode == 1
        assert f"manifest.json of {folder} cannot be read, so nothing was restored" in ended.stderr
        assert "Another vault that has this recovery point serves as well" in ended.stderr


def test_an_output_without_a_folder_is_written_where_one_is(kept: Kept, tmp_path: Path) -> None:
    ended = subprocess.run(
        [*kept.shell, str(kept.root / "restore.sh"), str(kept.folder), "output"], cwd=tmp_path, check=False
    )

    assert ended.returncode == 0
    assert (tmp_path / "output").read_bytes() == DATA
