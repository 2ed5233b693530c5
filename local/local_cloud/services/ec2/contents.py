"""Stores the bytes of volumes and snapshots: a content-addressed store of directory trees.

A volume's bytes are a directory. `capture` makes a tree of it: a listing (path, kind, mode, owner, times,
digest) and one blob per distinct file content, named by its SHA-256; unchanged files are neither read nor
stored again. `materialise` writes a tree out, byte for byte. Invariants: a blob's name is the hash of its
bytes; a tree is kept as long as it has a user, and is deleted, with the blobs that no other tree needs, when
the last user releases it.

Trees that are captured together show their directories at one instant, as snapshots of volumes do
("The point-in-time snapshot is created immediately",
https://docs.aws.amazon.com/ebs/latest/userguide/ebs-snapshots.html): a pass counts only if nothing changed
between its start and its end. If nothing stays unchanged for a whole pass within half a second, the result of
the last pass is used. Sockets and devices are left out; hard links become files of their own.
"""

import hashlib
import itertools
import json
import os
import shutil
import stat
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NewType

from local_cloud.services.ec2.scan import Kind, Scanned, look, scan

TreeId = NewType("TreeId", str)

PATIENCE_SECONDS = 0.5
CHUNK_BYTES = 1024 * 1024


class Entry(NamedTuple):
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
    """A captured directory; `size_bytes` is the total of its files."""

    id: TreeId
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Source:
    """What is captured: a folder, but for its children named in `without`."""

    folder: Path
    without: Collection[str] = ()

    def scan(self) -> dict[str, Scanned]:
        """Scan all of it."""
        return scan(self.folder, self.without)


class ChangedError(Exception):
    """A file changed or went while it was read; the pass does not count."""


class Contents:
    """The store, in one folder of its own."""

    def __init__(self, root: Path) -> None:
        """Keep blobs and listings below `root`, in folders that are made when first needed."""
        self._blobs = root / "blobs"
        self._trees = root / "trees"
        self._partial = itertools.count()
        self._holds: Counter[TreeId] = Counter()
        self._uses: Counter[str] = Counter()
        self._stored: set[str] = set()
        self._known: dict[tuple[int, int], tuple[Scanned, str]] = {}

    def capture(self, sources: Sequence[Source]) -> list[Tree]:
        """Capture a tree of each source, all at one instant, and hold each once.

        A folder that does not exist is an empty tree.
        """
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            last = time.monotonic() > give_up_at
            now_ns = self._file_system_now_ns()
            before = [source.scan() for source in sources]
            listings = [
                self._list(source.folder, found, now_ns, last=last)
                for source, found in zip(sources, before, strict=True)
            ]
            quiet = all(
                len(listing) == len(found) and all(seen.is_older_than(now_ns) for seen in found.values())
                for listing, found in zip(listings, before, strict=True)
            )
            if last or (quiet and [source.scan() for source in sources] == before):
                return self._store(listings)

    def hold(self, tree: TreeId) -> None:
        """Add a user of `tree`, such as a copy of the snapshot."""
        if not self._holds[tree]:
            raise KeyError(tree)
        self._holds[tree] += 1

    def release(self, tree: TreeId) -> None:
        """Remove a user of `tree`; without any, delete it and every blob that only it used."""
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
                self._drop(digest)

    def materialise(self, tree: TreeId, folder: Path) -> None:
        """Write `tree` into `folder`, which is created if missing and should have none of its names."""
        folder.mkdir(parents=True, exist_ok=True)
        entries = list(self._read(tree))
        for entry in entries:
            self._write(entry, folder / entry.path)
        for entry in reversed(entries):
            _dress(entry, folder / entry.path)

    def clear(self) -> None:
        """Forget and delete all."""
        for folder in (self._blobs, self._trees):
            shutil.rmtree(folder, ignore_errors=True)
        for table in (self._holds, self._uses, self._stored, self._known):
            table.clear()

    def _list(self, folder: Path, scanned: dict[str, Scanned], now_ns: int, *, last: bool) -> list[Entry]:
        """Make the listing of what was scanned, without what changes meanwhile unless this is the
        last try.
        """
        entries = []
        for path, seen in scanned.items():
            kind = seen.kind
            content = ""
            if kind in (Kind.FILE, Kind.LINK):
                try:
                    content = self._remembered(seen) or self._read_now(folder / path, seen, now_ns, last=last)
                except (ChangedError, FileNotFoundError):
                    continue
            size = seen.size_bytes if kind is Kind.FILE else 0
            mode = stat.S_IMODE(seen.mode)
            entries.append(Entry(path, kind, mode, seen.uid, seen.gid, seen.mtime_ns, size, content))
        return entries

    def _remembered(self, seen: Scanned) -> str | None:
        """Return the content of what looked just so when we last read it, if we still have it."""
        known = self._known.get((seen.device, seen.inode))
        if known and known[0] == seen and (known[1] in self._stored or seen.kind is Kind.LINK):
            return known[1]
        return None

    def _read_now(self, file: Path, seen: Scanned, now_ns: int, *, last: bool) -> str:
        """Return a file's digest, after storing its bytes, or a link's target.

        Raises:
            ChangedError: it differs from `seen` by now, and this is not the last try.
        """
        content = str(file.readlink()) if seen.kind is Kind.LINK else self._take(file)
        if look(file) != seen and not last:
            raise ChangedError(file)
        if seen.is_older_than(now_ns):  # else a later write could leave the same times
            self._known[seen.device, seen.inode] = (seen, content)
        return content

    def _take(self, file: Path) -> str:
        """Copy the bytes of `file` into the store and return their digest."""
        self._blobs.mkdir(parents=True, exist_ok=True)
        partial = self._blobs / f"partial-{next(self._partial)}"
        digest = hashlib.sha256()
        try:
            with file.open("rb") as source, partial.open("wb") as sink:
                while chunk := source.read(CHUNK_BYTES):
                    digest.update(chunk)
                    sink.write(chunk)
            blob = self._blob(digest.hexdigest())
            if digest.hexdigest() not in self._stored:
                blob.parent.mkdir(exist_ok=True)
                partial.replace(blob)
                self._stored.add(digest.hexdigest())
        finally:
            partial.unlink(missing_ok=True)
        return digest.hexdigest()

    def _store(self, listings: Sequence[list[Entry]]) -> list[Tree]:
        """Keep the listings, and drop what was stored for a pass that did not count."""
        trees = [self._keep(entries) for entries in listings]
        for digest in self._stored - self._uses.keys():
            self._drop(digest)
        return trees

    def _keep(self, entries: list[Entry]) -> Tree:
        listing = "".join(json.dumps(entry) + "\n" for entry in entries)
        tree = TreeId(hashlib.sha256(listing.encode()).hexdigest())
        if not self._holds[tree]:
            (self._trees / tree).write_text(listing)
            self._uses.update(_digests(entries))
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

    def _drop(self, digest: str) -> None:
        self._stored.remove(digest)
        self._blob(digest).unlink()

    def _blob(self, digest: str) -> Path:
        return self._blobs / digest[:2] / digest

    def _file_system_now_ns(self) -> int:
        """Return the time that a write now would be stamped with; the process's own clock is simulated."""
        self._trees.mkdir(parents=True, exist_ok=True)
        probe = self._trees / "now"
        probe.write_bytes(b".")
        return probe.stat().st_mtime_ns


def _digests(entries: Collection[Entry] | Iterator[Entry]) -> set[str]:
    return {entry.content for entry in entries if entry.kind == Kind.FILE}


def _dress(entry: Entry, target: Path) -> None:
    """Set the owner (where permitted), mode and time of what was written; children come first."""
    if os.geteuid() == 0:
        os.chown(target, entry.uid, entry.gid, follow_symlinks=False)
    if entry.kind != Kind.LINK:
        target.chmod(entry.mode)
    os.utime(target, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)
