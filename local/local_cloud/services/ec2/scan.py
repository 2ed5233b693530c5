"""Scans a directory, as far as is possible without reading files.

Two equal scans, with no time as late as the first scan, mean that nothing changed in between:
every write moves a file's inode change time, even one that puts the modification time back.
"""

import os
import stat
from collections.abc import Collection
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple


class Kind(StrEnum):
    """The kind of what is at a path."""

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
"""The kinds that are scanned; sockets and devices are not."""


class Scanned(NamedTuple):
    """The scan of one path; equal scans mean an unchanged file."""

    device: int
    inode: int
    mode: int
    uid: int
    gid: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int

    @property
    def kind(self) -> Kind:
        """Return what it is."""
        return KINDS[stat.S_IFMT(self.mode)]

    def is_older_than(self, moment_ns: int) -> bool:
        """Return whether its times show any change made from `moment_ns` on."""
        return max(self.mtime_ns, self.ctime_ns) < moment_ns


def look(file: Path) -> Scanned:
    """Scan one path, without following links."""
    return _seen(file.lstat())


def scan(folder: Path, without: Collection[str] = ()) -> dict[str, Scanned]:
    """Scan all below `folder` except its children in `without`: path → scan, parents before children.

    What goes while we look is left out; a folder that does not exist has nothing in it.
    """
    found: dict[str, Scanned] = {}
    ahead = [""]
    while ahead:
        parent = ahead.pop()
        for name, seen in _children(os.path.join(folder, parent)):  # noqa: PTH118 - a Path per file costs more than the look
            path = f"{parent}/{name}" if parent else name
            if path not in without:
                found[path] = seen
                if stat.S_ISDIR(seen.mode):
                    ahead.append(path)
    return found


def _children(folder: str) -> list[tuple[str, Scanned]]:
    children = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    seen = _seen(entry.stat(follow_symlinks=False))
                except FileNotFoundError:
                    continue
                if stat.S_IFMT(seen.mode) in KINDS:
                    children.append((entry.name, seen))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(children)


def _seen(status: os.stat_result) -> Scanned:
    return Scanned(
        status.st_dev,
        status.st_ino,
        status.st_mode,
        status.st_uid,
        status.st_gid,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )
