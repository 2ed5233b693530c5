"""The story itself, cut short: two days in place of five weeks."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from demo.acts.scene_is_set import set_stage
from demo.claims import Claims
from demo.ground import local_cloud
from demo.report import Report
from demo.story import play
from demo.telling import Teller


@pytest.mark.long
def test_every_claim_of_a_short_story_is_true(tmp_path: Path) -> None:
    told, report = io.StringIO(), Report("local", days=2)
    claims = Claims(Teller(told).claim)
    log = tmp_path / "local.log"
    with (
        log.open("w") as said,
        local_cloud("local", said) as ground,
        set_stage(ground, Teller(told), claims, report, tmp_path) as stage,
    ):
        play(stage)
    assert claims.made
    assert [claim for claim in claims.made if not claim.true] == []
    assert "day 2: " in told.getvalue()
    assert set(report.status) == set(report.restores) == {"orders-db", "files"}


def test_a_story_that_cannot_begin_fails_says_why_and_writes_no_document() -> None:
    environment = {**os.environ, "JSON": "1", "OFFSITE": "nowhere"}
    command = [sys.executable, "-m", "demo"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "OFFSITE='nowhere' is not one of" in ran.stderr
    assert "Traceback" not in ran.stderr
