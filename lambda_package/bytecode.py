"""Compiles the zip's modules, so that no cold start has to: Lambda cannot write `__pycache__` there.

Bytecode differs between patch releases of Python, so the compiler is one for every machine: CPython for
WebAssembly (Pyodide, pinned in `compiler/package-lock.json`) on Node. Its files are unchecked: the runtime
takes them without looking at the sources
(https://docs.python.org/3/reference/import.html#pyc-invalidation).
"""

import subprocess
from pathlib import Path

from lambda_package.target import TASK_ROOT
from lambda_package.wheels import PackagingError

_PROGRAM = Path(__file__).with_name("compiler") / "compile.mjs"


def compile_modules(folder: Path, *, node: Path, compiler: Path) -> None:
    """Write the bytecode of every module below a folder.

    Raises:
        PackagingError: a module cannot be compiled.
    """
    command = [str(node), str(_PROGRAM), str(compiler.resolve()), str(folder.resolve()), TASK_ROOT]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise PackagingError(f"the modules could not be compiled: {ended.stdout}{ended.stderr}")
