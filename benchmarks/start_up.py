"""How long a cold start of each packaged function takes, and how much memory it then has used.

A start is the import of the handler, the settings, the table's client, and what the function builds for its
first event, in a fresh interpreter of the runtime's version that sees the unpacked zip and nothing else. The
import of boto3 and its first EC2 client are measured in the same run, to compare. Times are the processor's:
work beside it counts little.
"""

import subprocess
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from lambda_package.interpreter import find_interpreter
from lambda_package.target import RUNTIME
from stage import HOME_TEMPLATE

ZIP = HOME_TEMPLATE.with_name("deployment.zip")
RUNS = 7
MEASURE = "import boto3\nboto3.Session(region_name='eu-central-1').client('ec2')"
FIRST_USE: Mapping[str, str] = {
    "app.app": "farshore().plans",
    "chalicelib.triggers.schedules.tick": "farshore().tick",
    "chalicelib.triggers.queues.advance_jobs": "farshore().engine.handlers['backup', 'snapshot']",
    "chalicelib.triggers.queues.advance_deletions": "farshore().engine.handlers['expire', 'lifecycle']",
    "chalicelib.triggers.completions.completions": "farshore().completions",
    "chalicelib.triggers.launches.launches": "farshore().instance_events",
}
"""What each handler builds for its first event."""

ENVIRONMENT = {
    "AWS_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "FARSHORE_STAGE": "prod",
    "FARSHORE_TABLE": "table",
    "FARSHORE_JOBS_QUEUE_URL": "https://queue.invalid",
    "FARSHORE_DELETIONS_QUEUE_URL": "https://queue.invalid",
    "FARSHORE_VAULT_BUCKET": "farshore-home",
}
# Linux keeps the peak of a process's own memory here; ru_maxrss would begin with its parent's (proc(5)).
PROGRAM = """
import re, sys, time
sys.path.insert(0, sys.argv[1])
start = time.process_time()
exec(sys.argv[2])
seconds = time.process_time() - start
print(seconds, re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


@dataclass(frozen=True, slots=True)
class StartUp:
    """The medians of several cold starts of one handler; the ratios are to boto3 and its first client.

    `import_ratio` is of the import of the handler alone, which is all that happens before an event is there.
    """

    handler: str
    start_seconds: float
    ratio: float
    import_ratio: float
    peak_mib: float


def measure_handlers() -> list[StartUp]:
    """Measure every handler.

    Raises:
        RuntimeError: this machine has no Python that loads the zip.
    """
    python = find_interpreter()
    if python is None:
        raise RuntimeError(f"the zip is for {RUNTIME}, not on this machine; LAMBDA_PYTHON can name one")
    programs = {"": MEASURE} | {handler: start_of(handler) for handler in FIRST_USE}
    programs |= {import_of(handler): import_of(handler) for handler in FIRST_USE}
    with tempfile.TemporaryDirectory() as task:
        with zipfile.ZipFile(ZIP) as archive:
            archive.extractall(task)
        rounds = [
            {handler: run(python, task, program) for handler, program in programs.items()}
            for _ in range(RUNS)
        ]
    measure = median(each[""][0] for each in rounds)
    return [
        StartUp(
            handler,
            start_seconds=round(seconds := median(each[handler][0] for each in rounds), 3),
            ratio=round(seconds / measure, 2),
            import_ratio=round(median(each[import_of(handler)][0] for each in rounds) / measure, 2),
            peak_mib=round(median(each[handler][1] for each in rounds) / 1024, 1),
        )
        for handler in FIRST_USE
    ]


def start_of(handler: str) -> str:
    """Return the program of a function's cold start."""
    return "\n".join(
        [
            import_of(handler),
            "from chalicelib.wiring import farshore",
            "farshore().table.client.meta",
            FIRST_USE[handler],
        ]
    )


def import_of(handler: str) -> str:
    """Return the program that imports a handler."""
    return f"import {handler.rpartition('.')[0]}"


def run(python: Path, folder: str, program: str) -> tuple[float, int]:
    """Return the processor's seconds of a program and the KiB at its peak."""
    command = [str(python), "-I", "-S", "-B", "-c", PROGRAM, folder, program]
    ended = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=True)
    seconds, peak = ended.stdout.split()
    return float(seconds), int(peak)
