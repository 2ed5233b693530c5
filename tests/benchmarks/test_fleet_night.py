"""A night of a small fleet is measured as it passes; how long it takes, is no test."""

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.long
@pytest.mark.parametrize(("service", "jobs"), [("each", 6), ("one", 1)])
def test_a_night_backs_up_every_instance_at_the_rules_moment(service: str, jobs: int) -> None:
    # a process of its own, as in the benchmark: the app's clients know the first cloud of a process only
    command = [sys.executable, "-m", "benchmarks.farshore_run", "6", service]
    environment = {**os.environ, "PYTHONPATH": "local"}
    ended = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    figures = json.loads(ended.stdout.splitlines()[-1])
    assert figures["over"]
    assert figures["starting_calls"] == {"made": 6, "refused": 0, "failed": 0}
    assert figures["snapshots"] == {"completed": 12}
    assert figures["jobs"] == {"states": {"COMPLETED": jobs}, "reason": None}
    assert figures["starts"]["last_seconds"] < 60
    assert figures["planning"]["calls"] > 0
