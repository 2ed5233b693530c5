"""Runs programs in a fresh interpreter that sees the zip and nothing else.

It is the runtime's own Python where this machine has it. Elsewhere it is this one, which needs a
`pydantic_core` of its own: that package works only with the Python that it is compiled for.
"""

import importlib.util
import subprocess
import sys
from functools import cache
from pathlib import Path

from lambda_package.interpreter import find_interpreter

OWN_MODULE = "pydantic_core"
_find = cache(find_interpreter)


def run_on(folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program whose modules come from an unpacked zip."""
    paths = [str(folder)] if _find() else [str(_own_module(folder)), str(folder)]
    start = f"import sys\nsys.path[:0] = {paths}\n"
    command = [str(_find() or sys.executable), "-I", "-S", "-B", "-c", start + program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={}, check=False)


def output_on(folder: Path, program: str, *arguments: str) -> str:
    """Return what a program writes that must succeed."""
    ended = run_on(folder, program, *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def _own_module(folder: Path) -> Path:
    """Return a folder with this interpreter's own module and nothing else."""
    beside = folder.with_name(f"{folder.name}-own")
    spec = importlib.util.find_spec(OWN_MODULE)
    assert spec is not None
    assert spec.origin is not None
    if not beside.exists():
        beside.mkdir()
        (beside / OWN_MODULE).symlink_to(Path(spec.origin).parent)
    return beside
