"""The wheels that go into the zip.

`requirements.lock` pins one file and its hash for each distribution. `make lock` writes it, from the direct
requirements of `requirements.txt`.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from lambda_package.contents import is_needed
from lambda_package.target import pip_options

_HEADER = """\
# The wheels of the Lambda package, written by `make lock` from requirements.txt.
"""


class PackagingError(Exception):
    """What would be packaged is not what functions can run."""


def download(lock: Path, folder: Path) -> None:
    """Download the wheels of the lock; their hashes are checked."""
    _pip_download(folder, "--require-hashes", "--no-deps", "-r", str(lock))


def write_lock(requirements: Path, lock: Path) -> None:
    """Resolve the requirements for the platform of the functions, and pin what they need."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _pip_download(folder, "-r", str(requirements))
        lines = sorted(f"{_pin(wheel)} --hash=sha256:{_hash(wheel)}\n" for wheel in folder.iterdir())
    lock.write_text(_HEADER + "".join(lines))


def _pip_download(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, "--dest", str(folder), *pip_options(), *arguments], check=True)


def _pin(wheel: Path) -> str:
    """https://packaging.python.org/en/latest/specifications/binary-distribution-format/"""
    name, version, *_ = wheel.name.split("-")
    return f"{name.replace('_', '-').lower()}=={version}"


def _hash(wheel: Path) -> str:
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def locked_wheels(lock: Path, folder: Path) -> Iterator[Path]:
    """Return the file of each line of the lock, in its order.

    Raises:
        PackagingError: the folder does not have it.
    """
    by_hash = {_hash(wheel): wheel for wheel in folder.glob("*.whl")}
    for line in lock.read_text().splitlines():
        pin, found, digest = line.partition(" --hash=sha256:")
        if not found:
            continue
        if digest not in by_hash:
            raise PackagingError(f"{folder} lacks the wheel of {pin} with this hash: run `make setup`")
        yield by_hash[digest]


def unpack(wheel: Path, folder: Path) -> None:
    """Unpack what the functions need of a wheel.

    Raises:
        PackagingError: it has modules that are not in their places.
    """
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if fnmatch(name, "*.data/*lib/*"):
                raise PackagingError(f"{wheel.name} has {name}, which only an installer puts in its place")
            if is_needed(name):
                archive.extract(name, folder)
