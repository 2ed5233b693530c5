"""`python -m benchmarks.farshore_run INSTANCES each|one`: one night of snapshots, measured; prints JSON.

One plan, stored before the instances are there, has one snapshot rule, whose moment comes once and for all
instances in one tick: each a service of its own (`{tag: Name}`), or all together one (`fleet`). The cloud's
clock stands still while functions run: simulated time passes only by what waits for it (a bucket, a delayed
message, a pending snapshot), as if every call took no time and every message found a free worker. So the
starts are the engine's pacing and nothing of this machine's speed. Real seconds are told apart.
"""

import gc
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from benchmarks import fleet
from benchmarks.call_record import (
    CallRecord,
    Invocation,
    Outcome,
    by_operation,
    by_service,
    ended,
    for_each,
    mutating_ec2,
    of_functions,
    starting,
)
from benchmarks.memory import forget_peak, peak_mib, resident_mib
from benchmarks.starts import bound_seconds, sum_up
from local_cloud.cloud import Cloud
from stage import open_stage

DUE = fleet.BEGIN.replace(hour=2) + timedelta(days=1)
SCHEDULE = "cron(0 2 * * ? *)"
STEP = timedelta(seconds=60)
PLANNER = "Tick"
CALL_SECONDS = 0.02
"""What a call of AWS's takes, roughly: for how long the tick would plan there."""
SERVICES: Mapping[str, object] = {"each": {"tag": "Name"}, "one": "fleet"}


def main() -> None:
    """Measure what the arguments say."""
    instances, service = int(sys.argv[1]), sys.argv[2]
    sys.stdout.write(json.dumps(measure(instances, service)) + "\n")


def measure(instances: int, service: str) -> dict[str, Any]:
    """Set up the fleet, let the night pass, and sum it up."""
    began = monotonic()
    with fleet.open_cloud(ticking=False) as cloud, open_stage(cloud.root) as stage:
        stage.deploy(cloud)
        api = fleet.Api(cloud.api.url)
        api.ask("PUT", f"/plans/{fleet.APP}", plan(service))
        ids = fleet.launch(cloud, instances)
        if service == "each":
            fleet.name(cloud, ids)
        cloud.advance(DUE - cloud.clock.now() - timedelta(seconds=1))
        set_up_seconds = monotonic() - began
        night = Night(cloud, api, instances)
        night.pass_by()
        return {
            "contestant": "Farshore",
            "service": service,
            **night.figures(),
            "set_up_seconds": set_up_seconds,
        }


def plan(service: str) -> fleet.Document:
    """Return the plan."""
    rule = {
        "name": "nightly",
        "kind": "snapshot",
        "schedule": SCHEDULE,
        "volumes": {"boot": False},
        "lifecycle": {"count": 2},
    }
    return {"service": SERVICES[service], "selection": {"tags": {fleet.APP_TAG: fleet.APP}}, "rules": [rule]}


class Night:
    """The time from just before the rule's moment until every job is over, or late beyond hope."""

    def __init__(self, cloud: Cloud, api: fleet.Api, instances: int) -> None:
        """Begin to record."""
        self._cloud = cloud
        self._api = api
        self._instances = instances
        gc.collect()
        self._peak_mib = peak_mib()
        forget_peak()
        self._before_mib = resident_mib()
        self._plan_peak_mib: float | None = None
        self._record = CallRecord.of(cloud)
        cloud.functions.on_end.append(self._planned)
        self._began = monotonic()
        self._seconds = 0.0
        self._is_over = False

    def pass_by(self) -> None:
        """Let time pass in steps until no job is left; at most three times as long as the bucket needs."""
        end = DUE + timedelta(seconds=3 * bound_seconds(self._instances)) + timedelta(hours=1)
        while not self._is_over and self._cloud.clock.now() < end:
            self._cloud.advance(STEP)
            self._is_over = not any(self._api.has("/jobs", state=state) for state in ("QUEUED", "RUNNING"))
            started, now = len(self._record.starts), self._cloud.clock.now()
            real = monotonic() - self._began
            sys.stderr.write(
                f"  {now:%H:%M:%S} simulated, {real:.0f} s real: {started} calls started snapshots\n"
            )
        self._seconds = monotonic() - self._began

    def figures(self) -> dict[str, Any]:
        """Sum the night up."""
        ours = of_functions(self._record.calls)
        starts = sum_up([(at - DUE).total_seconds() for at in self._record.starts], self._instances)
        counts = starting(ours)
        return {
            "instances": self._instances,
            "over": self._is_over,
            "starting_calls": {str(outcome): count for outcome, count in counts.items()},
            "mutating_ec2_per_instance": mutating_ec2(ours) / self._instances,
            "starts": asdict(starts) if starts else None,
            "calls_by_service": for_each(by_service(ours), self._instances),
            "calls_by_operation": for_each(by_operation(ours), self._instances),
            "refused_calls": by_operation(ended(ours, Outcome.REFUSED)),
            "failed_calls": by_operation(ended(ours, Outcome.FAILED)),
            "functions": functions_of(self._record.invocations),
            "planning": self._planning(),
            "peak_mib": max(self._peak_mib, peak_mib()),
            "night_seconds": self._seconds,
            "jobs": jobs_of(self._api),
            "snapshots": fleet.count_snapshots(self._cloud),
        }

    def _planned(self, function: str, _: float) -> None:
        """Take note of the peak when the first tick of the night ends."""
        if function.endswith(f"-{PLANNER}") and self._plan_peak_mib is None:
            self._plan_peak_mib = peak_mib()

    def _planning(self) -> dict[str, float] | None:
        tick = planning_tick(self._record.invocations, DUE)
        if tick is None or self._plan_peak_mib is None:
            return None
        return {
            "calls": tick.calls,
            "seconds": tick.seconds,
            "seconds_on_aws": tick.calls * CALL_SECONDS,
            "growth_mib": self._plan_peak_mib - self._before_mib,
        }


def jobs_of(api: fleet.Api) -> dict[str, Any]:
    """Count the backups by state, with the reason of one that did not complete."""
    states: Counter[str] = Counter()
    reason = None
    for job in api.everything("/jobs", plan=fleet.APP, kind="backup"):
        states[job["state"]] += 1
        if job["state"] != "COMPLETED":
            reason = job["reason"]
    return {"states": dict(states), "reason": reason}


def planning_tick(invocations: Sequence[Invocation], due: datetime) -> Invocation | None:
    """Return the first tick at or after the rule's moment."""
    ticks = (each for each in invocations if each.function == PLANNER and each.ended_at >= due)
    return next(ticks, None)


def functions_of(invocations: Sequence[Invocation]) -> dict[str, dict[str, float]]:
    """Sum up how often each function ran, what it called, and how long its longest run took here."""
    found: dict[str, dict[str, float]] = {}
    for each in invocations:
        so_far = found.setdefault(each.function, {"invocations": 0, "calls": 0, "longest_seconds": 0.0})
        so_far["invocations"] += 1
        so_far["calls"] += each.calls
        so_far["longest_seconds"] = max(so_far["longest_seconds"], each.seconds)
    return found


if __name__ == "__main__":
    main()
