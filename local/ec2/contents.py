"""Where the bytes of volumes and snapshots lie: a content-addressed store of directory trees.

A volume's bytes are a directory. `capture` takes a tree of it: a listing (path, kind, mode, owner, times,
digest) and one blob per distinct file content, named by its SHA-256; unchanged files are neither read nor
stored again. `materialise` writes a tree out, byte for byte. Invariants: a blob's name is the hash of its
bytes; a tree stays whole as long as somebody holds it, and goes, with the blobs nobody else needs, when
the last one releases it.

A tree is what the directory was at one instant, as a snapshot of a block device is ("The point-in-time
snapshot is created immediately", https://docs.aws.amazon.com/ebs/latest/userguide/ebs-snapshots.html): a
pass counts only if nothing changed between its start and its end. A directory that is not quiet for the
length of one pass within half a second is taken as the last pass found it. Sockets and devices are left
out; hard links become files of their own.
"""

import hashlib
import itertools
import json
import os
import shutil
import stat
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import astuple, dataclass
from enum import StrEnum
from pathlib import Path
from typing import NewType

TreeId = NewType("TreeId", str)

PATIENCE_SECONDS = 0.5
CHUNK_BYTES = 1024 * 1024


class Kind(StrEnum):
    """What an entry of a tree is."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"
    PIPE = "pipe"


KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.LINK,
    stat.S_IFIFO: Kind.PIPE,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a listing; `content` is a file's digest or a link's target, else empty."""

    path: str
    kind: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size_bytes: int
    content: str


@dataclass(frozen=True, slots=True)
class Tree:
    """A captured directory; `size_bytes` is what its files hold together."""

    id: TreeId
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Seen:
    """All that betrays a change of a file: the inode's times change with any write, even one that
    restores mtime.
    """

    inode: int
    mode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int


class ChangedError(Exception):
    """A file changed or went while it was read; the pass does not count."""


class Contents:
    """The store, in one folder of its own."""

    def __init__(self, root: Path) -> None:
        """Keep blobs and listings below `root`."""
        self._blobs = root / "blobs"
        self._trees = root / "trees"
        for folder in (self._blobs, self._trees):
            folder.mkdir(parents=True, exist_ok=True)
        self._partial = itertools.count()
        self._holds: Counter[TreeId] = Counter()
        self._uses: Counter[str] = Counter()
        self._digests: dict[tuple[int, int], tuple[Seen, str]] = {}
        self._unused: set[str] = set()

    def capture(self, folder: Path, *, without: Collection[str] = ()) -> Tree:
        """Take a tree of `folder`, leaving out its children named in `without`, and hold it once.

        A folder that does not exist is an empty tree.
        """
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            last = time.monotonic() > give_up_at
            now_ns = self._file_system_now_ns()
            before = _scan(folder, without)
            entries = self._list(folder, before, now_ns, forgiving=last)
            quiet = all(max(seen.mtime_ns, seen.ctime_ns) < now_ns for seen in before.values())
            if last or (quiet and len(entries) == len(before) and _scan(folder, without) == before):
                return self._store(entries)

    def hold(self, tree: TreeId) -> None:
        """Need `tree` once more (a copy of the snapshot, for one)."""
        if not self._holds[tree]:
            raise KeyError(tree)
        self._holds[tree] += 1

    def release(self, tree: TreeId) -> None:
        """Need `tree` once less; when nobody needs it, delete it and every blob only it used."""
        self._holds[tree] -= 1
        if self._holds[tree] > 0:
            return
        del self._holds[tree]
        digests = _digests(self._read(tree))
        (self._trees / tree).unlink()
        for digest in digests:
            self._uses[digest] -= 1
            if not self._uses[digest]:
                del self._uses[digest]
                self._blob(digest).unlink()

    def materialise(self, tree: TreeId, folder: Path) -> None:
        """Write `tree` into `folder`, which is made if need be and should hold nothing the tree names."""
        folder.mkdir(parents=True, exist_ok=True)
        entries = list(self._read(tree))
        for entry in entries:
            self._write(entry, folder / entry.path)
        for entry in reversed(entries):
            _dress(entry, folder / entry.path)

    def _list(self, folder: Path, scanned: dict[str, Seen], now_ns: int, *, forgiving: bool) -> list[Entry]:
        """Make the listing of what was scanned; a file that changes under us is left out unless
        `forgiving`.
        """
        entries = []
        for path, seen in scanned.items():
            try:
                entries.append(self._entry(folder / path, path, seen, now_ns, forgiving=forgiving))
            except (ChangedError, FileNotFoundError):
                continue
        return entries

    def _entry(self, file: Path, path: str, seen: Seen, now_ns: int, *, forgiving: bool) -> Entry:
        kind = KINDS[stat.S_IFMT(seen.mode)]
        status = file.lstat()
        content = ""
        if kind is Kind.FILE:
            content = self._digest(file, status, seen, now_ns, forgiving=forgiving)
        elif kind is Kind.LINK:
            content = str(file.readlink())
        size = seen.size_bytes if kind is Kind.FILE else 0
        mode = stat.S_IMODE(seen.mode)
        return Entry(path, kind, mode, status.st_uid, status.st_gid, seen.mtime_ns, size, content)

    def _digest(self, file: Path, status: os.stat_result, seen: Seen, now_ns: int, *, forgiving: bool) -> str:
        """Answer the digest of `file`, reading and storing it only if it may have changed since
        we last did.
        """
        key = (status.st_dev, status.st_ino)
        known = self._digests.get(key)
        if known and known[0] == seen and self._blob(known[1]).exists():
            return known[1]
        digest = self._take(file)
        if _seen(file.lstat()) != seen and not forgiving:
            raise ChangedError(file)
        if max(seen.mtime_ns, seen.ctime_ns) < now_ns:  # else a later write could leave the same times
            self._digests[key] = (seen, digest)
        return digest

    def _take(self, file: Path) -> str:
        """Copy the bytes of `file` into the store and answer their digest."""
        partial = self._blobs / f"partial-{next(self._partial)}"
        digest = hashlib.sha256()
        try:
            with file.open("rb") as source, partial.open("wb") as sink:
                while chunk := source.read(CHUNK_BYTES):
                    digest.update(chunk)
                    sink.write(chunk)
            blob = self._blob(digest.hexdigest())
            if not blob.exists():
                blob.parent.mkdir(exist_ok=True)
                partial.replace(blob)
                self._unused.add(digest.hexdigest())
        finally:
            partial.unlink(missing_ok=True)
        return digest.hexdigest()

    def _store(self, entries: list[Entry]) -> Tree:
        listing = "".join(json.dumps(astuple(entry)) + "\n" for entry in entries)
        tree = TreeId(hashlib.sha256(listing.encode()).hexdigest())
        if not self._holds[tree]:
            (self._trees / tree).write_text(listing)
            self._uses.update(_digests(entries))
        for digest in self._unused - self._uses.keys():
            self._blob(digest).unlink()
        self._unused.clear()
        self._holds[tree] += 1
        return Tree(tree, sum(entry.size_bytes for entry in entries))

    def _read(self, tree: TreeId) -> Iterator[Entry]:
        with (self._trees / tree).open() as listing:
            for line in listing:
                yield Entry(*json.loads(line))

    def _write(self, entry: Entry, target: Path) -> None:
        match entry.kind:
            case Kind.FILE:
                shutil.copyfile(self._blob(entry.content), target)
            case Kind.DIRECTORY:
                target.mkdir(mode=0o700, exist_ok=True)
            case Kind.LINK:
                target.symlink_to(entry.content)
            case Kind.PIPE:
                os.mkfifo(target)

    def _blob(self, digest: str) -> Path:
        return self._blobs / digest[:2] / digest

    def _file_system_now_ns(self) -> int:
        """Answer the time the file system would stamp on a write now; the process's own clock is
        simulated.
        """
        probe = self._trees / "now"
        probe.write_bytes(b".")
        return probe.stat().st_mtime_ns


def _scan(folder: Path, without: Collection[str]) -> dict[str, Seen]:
    """Look at all below `folder`, parents before children, in the order of the names."""
    found: dict[str, Seen] = {}
    ahead = [""]
    while ahead:
        parent = ahead.pop()
        for name, status in _children(folder / parent):
            path = f"{parent}/{name}" if parent else name
            if path in without or stat.S_IFMT(status.st_mode) not in KINDS:
                continue
            found[path] = _seen(status)
            if stat.S_ISDIR(status.st_mode):
                ahead.append(path)
    return found


def _children(folder: Path) -> list[tuple[str, os.stat_result]]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
    children = []
    for name in names:
        try:
            children.append((name, (folder / name).lstat()))
        except FileNotFoundError:
            continue
    return children


def _seen(status: os.stat_result) -> Seen:
    return Seen(status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _digests(entries: Collection[Entry] | Iterator[Entry]) -> set[str]:
    return {entry.content for entry in entries if entry.kind == Kind.FILE}


def _dress(entry: Entry, target: Path) -> None:
    """Give what was written its owner (where we may), mode and time; children come before their parents."""
    if os.geteuid() == 0:
        os.chown(target, entry.uid, entry.gid, follow_symlinks=False)
    if entry.kind != Kind.LINK:
        target.chmod(entry.mode)
    os.utime(target, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)
