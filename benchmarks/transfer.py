"""`python -m benchmarks.transfer [MIB]`: a file from an S3 vault into an off-site vault, beside its bounds.

The source is a static server on loopback, out of the page cache, and the off-site vault is a folder, so what
is measured is this code and this machine's disk, and no network. docs/figures.md says what each line is. The
contestants take turns, each in a process of its own, and the median of their runs counts.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

MIB = 1024 * 1024
DEFAULT_MIB = 256
ROUNDS = 5
SCRATCH = Path(__file__).parent.parent / "build"
RCLONE_SOURCE = ":s3,provider=Other,env_auth=false,access_key_id=bench,secret_access_key=bench,endpoint="


@dataclass(frozen=True, slots=True)
class Run:
    """One transfer: real seconds, and the peak memory of its process."""

    seconds: float
    peak_mib: float


def main() -> None:
    """Make a file, let everybody take it across, print the table."""
    mib = int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_MIB
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as scratch:
        file = Path(scratch, "data")
        make_file(file, mib)
        with served(file) as url:
            runs = compete(commands(file, url), Path(scratch))
    sys.stdout.write("\n".join(table(mib, runs)) + "\n")


def make_file(file: Path, mib: int) -> None:
    """Write bytes that do not compress, the same every time."""
    with file.open("wb") as writer:
        for number in range(mib):
            writer.write(hashlib.shake_128(number.to_bytes(8, "big")).digest(MIB))
        os.fsync(writer.fileno())


@contextmanager
def served(file: Path) -> Iterator[str]:
    """Serve the file as S3 does, for as long as the context lasts."""
    command = [sys.executable, "-m", "benchmarks.static_s3", str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        if server.stdout is None:
            raise RuntimeError("the source has no output")
        yield server.stdout.readline().strip()
        server.communicate()


def commands(file: Path, url: str) -> Mapping[str, Sequence[str]]:
    """Return the command of each contestant; the target folder is to be added."""
    python = [sys.executable, "-m", "benchmarks.contestants"]
    size = str(file.stat().st_size)
    known: dict[str, Sequence[str]] = {
        "plain read, SHA-256 and write": [*python, "plain", str(file), size],
        "the same, durable and read back": [*python, "durable", str(file), size],
        "Farshore, S3 vault to LOCAL vault": [*python, "move", url, size],
    }
    if rclone := shutil.which("rclone"):
        known["rclone, S3 to a folder"] = [
            rclone,
            "--config",
            "",
            "copy",
            f"{RCLONE_SOURCE}'{url}':bench/data",
        ]
    return known


def compete(commands: Mapping[str, Sequence[str]], scratch: Path) -> dict[str, list[Run]]:
    """Let the contestants run in turn, so that a slow moment meets them all alike."""
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            with tempfile.TemporaryDirectory(dir=scratch) as target:
                runs[name].append(run([*command, target]))
    return runs


def run(command: Sequence[str]) -> Run:
    """Run one; a contestant of ours tells its own seconds, of another the whole process counts."""
    start = perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=undisturbed()) as process:
        told = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} exited {process.returncode}")
    return Run(float(told) if told else perf_counter() - start, usage.ru_maxrss / 1024)


def undisturbed() -> dict[str, str]:
    """Return the environment less proxies and what is set for AWS: rclone fails on AWS_CA_BUNDLE."""
    return {
        name: text
        for name, text in os.environ.items()
        if not name.startswith("AWS_") and not name.lower().endswith("_proxy")
    }


def table(mib: int, runs: Mapping[str, list[Run]]) -> Iterator[str]:
    """Write the medians, and each contestant's speed as a share of the first one's."""
    speeds = {name: mib / median(each.seconds for each in made) for name, made in runs.items()}
    bound = next(iter(speeds.values()))
    yield f"{mib} MiB, median of {ROUNDS}          `python -m benchmarks.transfer {mib}`"
    for name, made in runs.items():
        peak = max(each.peak_mib for each in made)
        yield f"  {name:<36} {speeds[name]:7.0f} MiB/s  {speeds[name] / bound:5.2f}  {peak:5.0f} MiB at most"


if __name__ == "__main__":
    main()
