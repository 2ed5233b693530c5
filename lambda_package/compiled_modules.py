"""Checks that every compiled module is for the functions' platform, and that none is missing.

A wheel of the packaging machine's own platform imports well there and fails in Lambda, at the first call.
"""

import re
import struct
from collections.abc import Iterator
from pathlib import Path

from lambda_package.target import (
    ARCHITECTURE,
    ELF_MACHINE,
    GLIBC,
    MODULE_SUFFIX,
    PYTHON,
    STABLE_SUFFIX,
)

NEEDED = ("pydantic_core/_pydantic_core", "yaml/_yaml")
"""Modules without which a package does not work, or only slowly."""

_VERSION = "{}.{}".format(*PYTHON)
_SUFFIXES = (".so", ".pyd", ".dylib", ".dll")
# ELF; PE; Mach-O of either word size and order, and the universal ones.
_MAGICS = (
    b"\x7fELF",
    b"MZ",
    b"\xcf\xfa\xed\xfe",
    b"\xce\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
    b"\xca\xfe\xba\xbf",
)


def find_faults(folder: Path) -> list[str]:
    """Return what Lambda could not load of a folder, and what is missing there; empty if all is well."""
    missing = [stem for stem in NEEDED if not _is_there(folder, stem)]
    return [
        *(f"{stem}: there is no module for Python {_VERSION} on {ARCHITECTURE}" for stem in missing),
        *(f"{path.relative_to(folder)}: {fault}" for path in _compiled(folder) for fault in _faults(path)),
    ]


def _is_there(folder: Path, stem: str) -> bool:
    return any((folder / f"{stem}.{suffix}").is_file() for suffix in (MODULE_SUFFIX, STABLE_SUFFIX))


def _compiled(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and (path.suffix in _SUFFIXES or ".so." in path.name or _magic(path)):
            yield path


def _magic(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4).startswith(_MAGICS)


def _faults(path: Path) -> Iterator[str]:
    """https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html"""
    module = path.read_bytes()
    if module[:4] != b"\x7fELF" or len(module) < 20:
        yield "is no Linux module"
        return
    if module[4:6] != b"\x02\x01" or struct.unpack_from("<H", module, 18) != (ELF_MACHINE,):
        yield f"is not for {ARCHITECTURE}"
    if b"\0libc.so.6\0" not in module:
        yield "is not linked with glibc"
    versions = [(int(major), int(minor)) for major, minor in re.findall(rb"\0GLIBC_(\d+)\.(\d+)", module)]
    if versions and max(versions) > GLIBC:
        yield "needs glibc {}.{}; the runtime has {}.{}".format(*max(versions), *GLIBC)
    if not path.name.endswith((f".{MODULE_SUFFIX}", f".{STABLE_SUFFIX}")):
        yield f"is not for Python {_VERSION}"
