"""How long a packaged handler takes to import and how much memory it then has used, as in a cold start.

Each import runs in a fresh interpreter that sees the unpacked zip and what Lambda's runtime brings along,
nothing else. The zip's modules are compiled as they are imported, as they are on Lambda.
"""

import importlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from local_cloud.cloudformation.template import read_template
from stage import HOME_TEMPLATE
from tests.packaging.test_handlers import RUNTIME

ZIP = HOME_TEMPLATE.with_name("deployment.zip")
RUNS = 5
# Linux keeps the peak of a process's own memory here; ru_maxrss would begin with its parent's (proc(5)).
PROGRAM = """
import importlib, re, sys, time
sys.path[:0] = sys.argv[2:]
module, _, name = sys.argv[1].rpartition(".")
start = time.perf_counter()
getattr(importlib.import_module(module), name)
seconds = time.perf_counter() - start
print(seconds, re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


@dataclass(frozen=True, slots=True)
class StartUp:
    """The median of several cold imports of one handler."""

    handler: str
    import_seconds: float
    peak_mib: float


def measure_handlers() -> list[StartUp]:
    """Measure every handler that the packaged template names."""
    resources = read_template(HOME_TEMPLATE)["Resources"].values()
    handlers = [
        each["Properties"]["Handler"] for each in resources if each["Type"] == "AWS::Serverless::Function"
    ]
    with tempfile.TemporaryDirectory() as scratch:
        task, runtime = Path(scratch, "task"), Path(scratch, "runtime")
        with zipfile.ZipFile(ZIP) as archive:
            archive.extractall(task)
        link_runtime(runtime)
        return [measure(handler, task, runtime) for handler in handlers]


def link_runtime(folder: Path) -> None:
    """Put what Lambda's runtime brings along into a folder."""
    folder.mkdir()
    for name in RUNTIME:
        origin = Path(importlib.import_module(name).__file__ or "")
        source = origin.parent if origin.name == "__init__.py" else origin
        (folder / source.name).symlink_to(source)


def measure(handler: str, *folders: Path) -> StartUp:
    """Import a handler again and again, each time in a fresh interpreter."""
    command = [sys.executable, "-I", "-S", "-B", "-c", PROGRAM, handler, *map(str, folders)]
    ended = [subprocess.run(command, capture_output=True, text=True, env={}, check=True) for _ in range(RUNS)]
    runs = [each.stdout.split() for each in ended]
    return StartUp(
        handler,
        import_seconds=round(median(float(seconds) for seconds, _ in runs), 3),
        peak_mib=round(median(int(kib) for _, kib in runs) / 1024, 1),
    )
