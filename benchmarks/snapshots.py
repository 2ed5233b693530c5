"""`python -m benchmarks.snapshots`: how a large fleet's snapshots start, beside what EC2's bucket allows.

For each size in INSTANCES (default `1000 10000`) it lets one plan's snapshot rule come due for so many
instances at once on the local cloud, and prints what that took; `SERVICE=one` has them all be one service
instead of one each. Beside it runs Cloud Custodian, for sizes up to 1,000, in real time. JSON=1 prints one
JSON document. Each run is a process of its own; what it writes goes to build/snapshots.log.

Farshore's runs are on a clock that stands still while functions run (`farshore_run` says why), so that no
figure in simulated seconds depends on this machine. docs/figures.md says what each figure means.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.custodian_run import CONTESTANT, last_line
from benchmarks.farshore_run import SERVICES
from benchmarks.snapshot_table import table

DEFAULT_SIZES = "1000 10000"
LARGEST_FOR_CUSTODIAN = 1000
LOG = Path(__file__).parent.parent / "build" / "snapshots.log"


def main() -> int:
    """Run what is asked for, print it, and answer the exit code."""
    try:
        sizes = sizes_of(os.environ.get("INSTANCES") or DEFAULT_SIZES)
        service = service_of(os.environ.get("SERVICE") or "each")
    except ValueError as error:
        sys.stderr.write(f"bench-snapshots: {error}\n")
        return 2
    with LOG.open("w"):
        pass
    runs = [run("Farshore", size, "benchmarks.farshore_run", service) for size in sizes]
    if service == "each":
        small = [size for size in sizes if size <= LARGEST_FOR_CUSTODIAN]
        runs += [run(CONTESTANT, size, "benchmarks.custodian_run") for size in small]
    as_json = os.environ.get("JSON", "") not in ("", "0")
    document = {"service": service, "runs": runs}
    sys.stdout.write((json.dumps(document, indent=2) if as_json else "\n".join(table(runs))) + "\n")
    return 0


def sizes_of(text: str) -> list[int]:
    """Read the sizes, in rising order.

    Raises:
        ValueError: one is no whole number above 0.
    """
    words = text.replace(",", " ").split()
    if not words or not all(word.isdecimal() and int(word) > 0 for word in words):
        raise ValueError(f"INSTANCES={text!r}: write one or more numbers of instances, like '1000 10000'")
    return sorted({int(word) for word in words})


def service_of(text: str) -> str:
    """Read how the instances make up services.

    Raises:
        ValueError: it is not one of the ways.
    """
    if text not in SERVICES:
        raise ValueError(f"SERVICE={text!r} is not one of {', '.join(SERVICES)}")
    return text


def run(contestant: str, size: int, module: str, *arguments: str) -> dict[str, Any]:
    """Measure in a process of its own; a run that breaks says so in the place of its figures."""
    sys.stderr.write(f"{contestant}, {size:,} instances (log: build/{LOG.name})\n")
    command: Sequence[str] = [sys.executable, "-m", module, str(size), *arguments]
    with LOG.open("a") as log:
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, text=True, check=False)
    if ended.returncode == 0:
        figures: dict[str, Any] = json.loads(last_line(ended.stdout))
        return figures
    why = f"the run exited {ended.returncode}: {last_line(LOG.read_text())}"
    return {"contestant": contestant, "instances": size, "not_measured": why}


if __name__ == "__main__":
    sys.exit(main())
