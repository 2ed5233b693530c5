"""The files on the data volumes: created, changed a little every day, and compared byte for byte.

A tree is represented by its contents: the path of every file with the SHA-256 of its bytes.
"""

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

MIB = 1024 * 1024
Tree = Mapping[str, str]


def read_tree(folder: Path) -> Tree:
    """Return the tree of a folder, reading every byte."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@dataclass(slots=True)
class Volume:
    """The files of one volume, with their known contents, so that they need not be read again."""

    folder: Path
    seed: int
    tree: dict[str, str] = field(default_factory=dict)

    def fill(self, files: int, size_bytes: int) -> None:
        """Create files of random bytes."""
        for number in range(files):
            self._write(f"archive/{number:03d}.bin", size_bytes)

    def pass_a_day(self, day: int) -> None:
        """Do what users do on a day: create a file, rewrite one, remove one."""
        self._write(f"inbox/day-{day:02d}.txt", 2_000 + day)
        self._write(f"archive/{day % 7:03d}.bin", MIB // 4 + day)
        self._remove(f"inbox/day-{day - 5:02d}.txt")

    def _write(self, path: str, size_bytes: int) -> None:
        content = random.Random(f"{self.seed} {path} {size_bytes}").randbytes(size_bytes)  # noqa: S311
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        self.tree[path] = hashlib.sha256(content).hexdigest()

    def _remove(self, path: str) -> None:
        if self.tree.pop(path, None):
            (self.folder / path).unlink()
