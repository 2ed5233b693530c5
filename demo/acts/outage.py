"""Act 4, one of the nights: EC2 refuses snapshots and the DR bucket does not answer."""

from demo.evidence import outage
from demo.evidence.restored import unreachable
from demo.ground import HOME
from demo.stage import HOUR, DemoStage

STRIKES_ON = 22
MORNING = 18 * HOUR
"""It lasts from a day's noon through one night's backups to the next morning."""


def live_through(stage: DemoStage, day: int) -> None:
    """Let the outage pass, if it begins on this day, and check its effects, also two days after it."""
    match day:
        case d if d == STRIKES_ON:
            _strike(stage)
            stage.ground.advance_to(stage.ground.now() + MORNING)
            _look(stage)
            _mend(stage)
        case d if d == STRIKES_ON + 3:
            _look_back(stage)


def _strike(stage: DemoStage) -> None:
    bucket = stage.ground.vaults["dr"].removeprefix("s3://")
    no_snapshots = {
        "match": {"service": "ec2", "operation": "CreateSnapshots"},
        "effect": {"error": {"code": "ConcurrentSnapshotLimitExceeded"}},
    }
    stage.ground.control.ask("PUT", "/faults", [no_snapshots, *unreachable(bucket)])
    stage.report.outage.append(stage.ground.now())
    stage.say(f"an outage begins: EC2 in {HOME} refuses snapshots, and {bucket} answers only errors")


def _look(stage: DemoStage) -> None:
    """Check the effects of the night, as an operator does in the morning."""
    for sentence in outage.says(stage.farshore):
        stage.teller.note(f"GET /status: {sentence}")
    outage.check_told(stage.claims, stage.farshore, stage.report.outage[0])


def _mend(stage: DemoStage) -> None:
    refused = stage.ground.control.get("/faults")
    stage.ground.control.ask("PUT", "/faults", [])
    stage.report.outage.append(stage.ground.now())
    stage.say(f"the outage is over; it has met {sum(each['met'] for each in refused)} calls of the app")


def _look_back(stage: DemoStage) -> None:
    """Check that all of it was made good: late, once, and without an operator."""
    outage.check_made_up_for(stage.claims, stage.farshore, *stage.report.outage)
