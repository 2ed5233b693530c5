"""Writes a zip that depends on nothing but the names and contents of its files."""

import zipfile
from pathlib import Path

_EARLIEST = (1980, 1, 1, 0, 0, 0)
_READABLE_FILE = 0o100644
_UNIX = 3


def write_zip(folder: Path, target: Path) -> None:
    """Pack a folder: entries in the order of their names, one time and one mode for all."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        ):
            entry = zipfile.ZipInfo(name, _EARLIEST)
            entry.external_attr = _READABLE_FILE << 16
            entry.create_system = _UNIX
            archive.writestr(entry, (folder / name).read_bytes(), zipfile.ZIP_DEFLATED)
