"""`python -m benchmarks.figures`: prints the figures of docs/figures.md; with JSON=1 as one JSON document."""

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr
from dataclasses import asdict
from pathlib import Path
from textwrap import fill
from typing import Any

from benchmarks import code, start_up
from benchmarks.calls import Calls, count_calls

CHECKOUT = Path(__file__).parent.parent
PACKAGES = (CHECKOUT / "chalicelib", CHECKOUT / "local" / "local_cloud")
LOG = CHECKOUT / "build" / "figures.log"
WIDTH = 110


def main() -> None:
    """Measure, then print."""
    figures = measure()
    as_json = os.environ.get("JSON", "") not in ("", "0")
    sys.stdout.write(json.dumps(figures, indent=2) + "\n" if as_json else "\n".join(lines(figures)) + "\n")


def measure() -> dict[str, Any]:
    """Measure everything; what the functions write goes to a log."""
    with tempfile.TemporaryDirectory() as root, LOG.open("w") as log, redirect_stderr(log):
        counted = count_calls(Path(root))
    return {
        "calls": {name: as_figure(calls) for name, calls in counted.work.items()},
        "idle": {
            "tick": as_figure(counted.idle_tick),
            "day": as_figure(counted.idle_day),
            "day_seconds": round(counted.idle_day_seconds, 2),
        },
        "code": {package.name: lengths_of(package) for package in PACKAGES},
        "handlers": [asdict(each) for each in start_up.measure_handlers()],
        "package_bytes": start_up.ZIP.stat().st_size,
    }


def as_figure(calls: Calls) -> dict[str, Any]:
    """Write calls down, the most frequent first."""
    ordered = sorted(calls.items(), key=lambda each: (-each[1], each[0]))
    return {"total": calls.total(), "by_operation": dict(ordered)}


def lengths_of(package: Path) -> dict[str, Any]:
    """Measure the files and functions of a package."""
    return {
        "files": asdict(code.sum_up(code.files(package), longest=1)),
        "files_above_250": [asdict(each) for each in code.long_files(package)],
        "functions": asdict(code.sum_up(code.functions(package), longest=3)),
    }


def lines(figures: Mapping[str, Any]) -> Iterator[str]:
    """Write the figures as a table."""
    yield "AWS calls, by kind of work"
    for name, calls in figures["calls"].items():
        yield from called(name, calls)
    yield "\nIdle"
    yield from called("a tick", figures["idle"]["tick"])
    yield from called("a simulated day", figures["idle"]["day"])
    yield f"  a simulated day takes {figures['idle']['day_seconds']} s here"
    yield "\nLines"
    for package, lengths in figures["code"].items():
        yield from lengthy(package, lengths)
    yield "\nCold start of each function, beside boto3 and its first EC2 client; and the package"
    for each in figures["handlers"]:
        seconds, ratio, peak = each["start_seconds"], each["ratio"], each["peak_mib"]
        yield f"  {each['handler']:<46} {seconds:6.2f} s, {ratio:.2f} x {peak:7.1f} MiB at most"
    yield f"  {start_up.ZIP.name:<46} {figures['package_bytes'] / 1e6:6.2f} MB"


def called(name: str, calls: Mapping[str, Any]) -> Iterator[str]:
    """Write one kind of work: its total, then its operations."""
    yield f"  {name:<46} {calls['total']:5}"
    operations = ", ".join(f"{name} {count}" for name, count in calls["by_operation"].items())
    if operations:
        yield fill(operations, WIDTH, initial_indent="      ", subsequent_indent="      ")


def lengthy(package: str, lengths: Mapping[str, Any]) -> Iterator[str]:
    """Write how long a package's files and functions are."""
    for kind in ("files", "functions"):
        each = lengths[kind]
        yield (
            f"  {package} {kind}: {each['count']}, {each['total']} lines; median {each['median']:g}, "
            f"90th percentile {each['ninetieth']:g}; longest "
            + ", ".join(f"{one['name']} {one['lines']}" for one in each["longest"])
        )
    above = ", ".join(f"{one['name']} {one['lines']}" for one in lengths["files_above_250"])
    yield f"  {package} files above 250 lines: {above or 'none'}"


if __name__ == "__main__":
    main()
