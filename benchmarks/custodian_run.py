"""`python -m benchmarks.custodian_run INSTANCES`: the same fleet's snapshots by Cloud Custodian; prints JSON.

Cloud Custodian (https://cloudcustodian.io) is a tool that many run for this. Its `snapshot` action on `ec2`
makes one CreateSnapshots call for each instance, two at a time, and repeats a refused one up to seven times.
It is a program of its own with a clock of its own, so the local cloud's clock ticks in real time here, and
what is due is the moment it is started. It is installed from PyPI into a venv below `build/`, once.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

from benchmarks import fleet
from benchmarks.call_record import (
    CallRecord,
    Outcome,
    by_operation,
    by_service,
    ended,
    for_each,
    mutating_ec2,
    starting,
)
from benchmarks.starts import sum_up
from local_cloud.cloud import Cloud
from stage import HOME_REGION

VERSION = "0.9.53"
CONTESTANT = f"Cloud Custodian {VERSION}"
VENV = Path(__file__).parent.parent / "build" / f"custodian-{VERSION}"
POLICY = {
    "name": "nightly",
    "resource": "aws.ec2",
    "filters": [{f"tag:{fleet.APP_TAG}": fleet.APP}],
    "actions": [{"type": "snapshot", "exclude-boot": True, "copy-volume-tags": False}],
}


def main() -> None:
    """Measure, or say why not."""
    instances = int(sys.argv[1])
    if (why := install()) is not None:
        figures: dict[str, Any] = {"contestant": CONTESTANT, "instances": instances, "not_measured": why}
    else:
        figures = measure(instances)
    sys.stdout.write(json.dumps(figures) + "\n")


def install() -> str | None:
    """Make the venv unless it is there; answer why that failed, if it did."""
    if (VENV / "bin" / "custodian").exists():
        return None
    pip = [str(VENV / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", f"c7n=={VERSION}"]
    for command in ([sys.executable, "-m", "venv", "--clear", str(VENV)], pip):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"c7n {VERSION} could not be installed: {last_line(done.stderr)}"
    return None


def measure(instances: int) -> dict[str, Any]:
    """Set up the fleet, run the policy on it, and sum it up."""
    with fleet.open_cloud(ticking=True) as cloud:
        fleet.launch(cloud, instances)
        threading.Thread(target=cloud.keep_up, name="pump", daemon=True).start()
        record = CallRecord.of(cloud)
        due, began = cloud.clock.now(), monotonic()
        fault, peak_mib = run(cloud)
        seconds, calls = monotonic() - began, dict(record.calls)
        starts = sum_up([(at - due).total_seconds() for at in record.starts], instances)
        return {
            "contestant": CONTESTANT,
            "instances": instances,
            "over": fault is None,
            "reason": fault,
            "starting_calls": {str(outcome): count for outcome, count in starting(calls).items()},
            "mutating_ec2_per_instance": mutating_ec2(calls) / instances,
            "starts": asdict(starts) if starts else None,
            "calls_by_service": for_each(by_service(calls), instances),
            "calls_by_operation": for_each(by_operation(calls), instances),
            "refused_calls": by_operation(ended(calls, Outcome.REFUSED)),
            "failed_calls": by_operation(ended(calls, Outcome.FAILED)),
            "peak_mib": peak_mib,
            "night_seconds": seconds,
            "snapshots": fleet.count_snapshots(cloud),
        }


def run(cloud: Cloud) -> tuple[str | None, float]:
    """Run the policy; answer why it failed, if it did, and its peak memory in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        policy, log = Path(folder, "policy.json"), Path(folder, "log")
        policy.write_text(json.dumps({"policies": [POLICY]}))
        command = [str(VENV / "bin" / "custodian"), "run", "--region", HOME_REGION, "--cache-period", "0"]
        command += ["--output-dir", str(Path(folder, "out")), str(policy)]
        with (
            log.open("w") as sink,
            subprocess.Popen(
                command, stdout=sink, stderr=sink, cwd=folder, env=environment(cloud.aws.url, folder)
            ) as process,
        ):
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        fault = f"exit {process.returncode}: {last_line(log.read_text())}" if process.returncode else None
        return fault, usage.ru_maxrss / 1024


def environment(endpoint: str, home: str) -> Mapping[str, str]:
    """Return an environment that knows of no AWS but the local cloud's."""
    kept = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith("AWS_") and not name.lower().endswith("_proxy")
    }
    return kept | {
        "HOME": home,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": HOME_REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def last_line(text: str) -> str:
    """Return the last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no word of why")


if __name__ == "__main__":
    main()
