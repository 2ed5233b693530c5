"""The content store: exact, incremental, and empty again when all is released."""

import os
import sqlite3
import threading
from pathlib import Path

import pytest

from local_cloud.services.ec2.contents import Contents, Source, Tree


def look(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return all that a restore must bring back, by path."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content: object = None
        if path.is_symlink():
            content = str(path.readlink())
        elif path.is_file():
            content = path.read_bytes()
        mode = None if path.is_symlink() else status.st_mode
        found[str(path.relative_to(folder))] = (content, mode, status.st_mtime_ns)
    return found


def take(store: Contents, folder: Path, *without: str) -> Tree:
    (tree,) = store.capture([Source(folder, without)])
    return tree


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    folder = tmp_path / "volume"
    (folder / "a" / "deep" / "empty").mkdir(parents=True)
    (folder / "a" / "rows").write_bytes(os.urandom(3_000_000))
    (folder / "a" / "same").write_bytes((folder / "a" / "rows").read_bytes())
    (folder / "script.sh").write_text("#!/bin/sh\n")
    (folder / "script.sh").chmod(0o755)
    (folder / "locked").mkdir()
    (folder / "locked" / "file").write_text("x")
    (folder / "locked").chmod(0o555)
    (folder / "link").symlink_to("a/rows")
    (folder / "dangling").symlink_to("/nowhere/at/all")
    (folder / "nothing").touch()
    (folder / os.fsdecode(b"not-utf8-\xff")).write_text("name")
    (folder / "line\nbreak").write_text("name")
    os.mkfifo(folder / "pipe")
    os.utime(folder / "a", (1_000_000_000, 1_000_000_000))
    return folder


def test_restored_tree_is_the_captured_one_in_every_respect(tmp_path: Path, volume: Path) -> None:
    store = Contents(tmp_path / "store")
    tree = take(store, volume)
    store.materialise(tree.id, tmp_path / "restored")
    assert look(tmp_path / "restored") == look(volume)
    assert tree.size_bytes == 6_000_000 + len("#!/bin/sh\n") + 1 + 4 + 4


def test_restoring_does_not_share_files_with_the_store(tmp_path: Path, volume: Path) -> None:
    store = Contents(tmp_path / "store")
    tree = take(store, volume)
    store.materialise(tree.id, tmp_path / "first")
    (tmp_path / "first" / "a" / "rows").write_bytes(b"changed in place")
    store.materialise(tree.id, tmp_path / "second")
    assert look(tmp_path / "second") == look(volume)


def test_change_that_keeps_size_and_mtime_is_seen(tmp_path: Path, volume: Path) -> None:
    store = Contents(tmp_path / "store")
    file = volume / "a" / "rows"
    before = file.stat()
    take(store, volume)
    file.write_bytes(os.urandom(before.st_size))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    store.materialise(take(store, volume).id, tmp_path / "restored")
    assert look(tmp_path / "restored") == look(volume)


def test_unchanged_directory_is_the_same_tree_and_costs_no_blob(tmp_path: Path, volume: Path) -> None:
    store = Contents(tmp_path / "store")
    first = take(store, volume)
    blobs = sorted((tmp_path / "store" / "blobs").rglob("*"))
    assert take(store, volume) == first
    assert sorted((tmp_path / "store" / "blobs").rglob("*")) == blobs


def test_blobs_stay_while_any_tree_needs_them_and_go_with_the_last(tmp_path: Path, volume: Path) -> None:
    store = Contents(tmp_path / "store")
    first = take(store, volume)
    (volume / "more").write_bytes(b"more")
    second = take(store, volume)
    store.hold(second.id)
    store.release(first.id)
    store.release(second.id)
    store.materialise(second.id, tmp_path / "restored")
    assert look(tmp_path / "restored") == look(volume)
    store.release(second.id)
    blobs = tmp_path / "store" / "blobs"
    assert [path for path in blobs.rglob("*") if path.is_file()] == []


def test_file_restored_after_its_blob_went_is_read_again(tmp_path: Path, volume: Path) -> None:
    store = Contents(tmp_path / "store")
    store.release(take(store, volume).id)
    store.materialise(take(store, volume).id, tmp_path / "restored")
    assert look(tmp_path / "restored") == look(volume)


def test_absent_folder_is_an_empty_tree(tmp_path: Path) -> None:
    store = Contents(tmp_path / "store")
    tree = take(store, tmp_path / "absent")
    store.materialise(tree.id, tmp_path / "restored")
    assert list((tmp_path / "restored").iterdir()) == []


def test_excluded_children_are_left_out(tmp_path: Path, volume: Path) -> None:
    store = Contents(tmp_path / "store")
    tree = take(store, volume, "a", "pipe")
    store.materialise(tree.id, tmp_path / "restored")
    assert not (tmp_path / "restored" / "a").exists()
    assert (tmp_path / "restored" / "link").is_symlink()


def test_database_that_is_being_written_to_is_captured_whole(tmp_path: Path) -> None:
    """Every transaction keeps the sum of two accounts; a torn capture would break it or the file."""
    store = Contents(tmp_path / "store")
    folder = tmp_path / "volume"
    folder.mkdir()
    path = folder / "bank.sqlite"
    with sqlite3.connect(path) as setup:
        setup.execute("create table account (id integer primary key, balance integer, padding blob)")
        setup.executemany("insert into account values (?, 100, randomblob(2000))", [(n,) for n in range(200)])
    setup.close()
    stop = threading.Event()

    def write() -> None:
        database = sqlite3.connect(path)
        while not stop.wait(0.005):
            with database:
                database.execute(
                    "update account set balance = balance - 1, padding = randomblob(2000) where id < 100"
                )
                database.execute("update account set balance = balance + 1 where id >= 100")
        database.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        trees = [take(store, folder) for _ in range(15)]
    finally:
        stop.set()
        writer.join()
    for number, tree in enumerate(trees):
        restored = tmp_path / f"restored-{number}"
        store.materialise(tree.id, restored)
        database = sqlite3.connect(restored / "bank.sqlite")
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
        assert database.execute("select sum(balance) from account").fetchone() == (20_000,)
        database.close()


def test_folders_taken_together_are_of_one_instant(tmp_path: Path) -> None:
    """A journal is always written before its data; a capture must never show data the journal lacks."""
    store = Contents(tmp_path / "store")
    data, journal = tmp_path / "data", tmp_path / "journal"
    for folder in (data, journal):
        folder.mkdir()
        (folder / "number").write_text("0")
        for other in range(50):
            (folder / f"other-{other}").write_bytes(os.urandom(1000))
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.wait(0.01):
            number += 1
            for folder in (journal, data):
                (folder / "next").write_text(str(number))
                (folder / "next").replace(folder / "number")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        pairs = [store.capture([Source(data), Source(journal)]) for _ in range(15)]
    finally:
        stop.set()
        writer.join()
    for number, (of_data, of_journal) in enumerate(pairs):
        store.materialise(of_data.id, tmp_path / f"data-{number}")
        store.materialise(of_journal.id, tmp_path / f"journal-{number}")
        seen = int((tmp_path / f"data-{number}" / "number").read_text())
        written = int((tmp_path / f"journal-{number}" / "number").read_text())
        assert seen in (written, written - 1)
