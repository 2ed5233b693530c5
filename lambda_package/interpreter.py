"""Finds the runtime's own Python on this machine, to run what is in the zip as Lambda does."""

import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path
from shutil import which

from lambda_package.target import ARCHITECTURE, RUNTIME

_PROGRAM = """
import platform
version, machine, libc = platform.python_version_tuple(), platform.machine(), platform.libc_ver()[0]
print(f"python{version[0]}.{version[1]}", machine, libc)
"""


def find_interpreter() -> Path | None:
    """Return a Python that loads the modules of the zip; None if this machine has none.

    It is looked for in `LAMBDA_PYTHON`, on the path, and among pyenv's.
    """
    return next((each for each in _candidates() if _fits(each)), None)


def _candidates() -> Iterator[Path]:
    for name in (os.environ.get("LAMBDA_PYTHON"), which(RUNTIME)):
        if name:
            yield Path(name)
    yield from sorted(Path.home().glob(f".pyenv/versions/{RUNTIME.removeprefix('python')}.*/bin/python"))


def _fits(python: Path) -> bool:
    if platform.system() != "Linux":
        return False
    command = [str(python), "-I", "-S", "-c", _PROGRAM]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.stdout.split() == [RUNTIME, ARCHITECTURE, "glibc"]
