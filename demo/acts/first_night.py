"""Act 2: plans are sent, a backup is requested, and the schedule makes others."""

from collections.abc import Callable

from demo.evidence import made
from demo.farshore import Document, moment
from demo.report import total
from demo.stage import HOUR, MINUTE, PLANS, TICK, DemoStage
from demo.watch import STEP

WINDOW = 20 * MINUTE
"""The rules of the plans run this far apart, so that the calls of each can be counted."""


def send_plans(stage: DemoStage) -> None:
    """Send the plans."""
    addresses = {"orders": {"identity": {"elastic_ip": stage.scene.elastic_ip}}}
    for name, plan in PLANS.items():
        answer = stage.farshore.put_plan(name, {**plan, **addresses.get(name, {})})
        stage.say(f"PUT /plans/{name}: {len(answer['rules'])} rules, {len(answer['warnings'])} warnings")


def back_up_now(stage: DemoStage) -> None:
    """Request, twice, a backup that the schedule would make only on Sunday."""
    asked, again = (stage.farshore.back_up("files", "weekly", key="first") for _ in range(2))
    stage.claims.same(
        "the same request again makes no second job", asked, again, f"POST /backups: {asked[0]}"
    )
    stage.watch.until_done(stage.began)


def count_idle_ticks(stage: DemoStage) -> None:
    """Count what the app calls when nothing is due."""
    stage.trees[stage.midnight] = stage.scene.trees()
    stage.ground.advance_to(stage.midnight + HOUR / 2 - STEP)
    before = total(stage.ground.calls())
    stage.ground.advance(4 * TICK)
    stage.report.calls_per_tick = (total(stage.ground.calls()) - before) / 4


def watch_service_backup(stage: DemoStage) -> None:
    """Watch the orders' script run while orders come in, and check what it wrote in every vault."""
    stage.ground.advance_to(stage.midnight + HOUR - STEP)
    rows, ways = stage.orders.rows, made.uploads_and_copies(stage.ground)
    point = _watched(stage, "orders-db", "nightly")
    notes = made.script_notes(stage.scene.directory("orders-1"))
    job = made.job_that_made(stage.watch, point)
    stage.claims.check("the backup script ran on the instance, once", list(notes) == [job], f"for {job}")
    sha256, copied = notes[job]
    made.check_written_while(stage.claims, stage.orders, rows, copied)
    made.check_ways(stage.claims, stage.ground, ways)
    made.check_in_s3(stage.claims, stage.ground, point, sha256)
    if folder := stage.ground.offsite_folder:
        made.check_opened_offsite(stage.claims, folder, point, sha256, stage.scratch)


def watch_snapshots(stage: DemoStage) -> None:
    """Watch the volumes of both instances of the files being snapshotted and copied."""
    pending = made.Pending(stage.ground)
    stage.ground.advance_to(stage.midnight + HOUR + WINDOW - STEP)
    point = _watched(stage, "files", "volumes", pending.look)
    made.check_snapshots(stage.claims, pending, stage.watch, point)


def _watched(stage: DemoStage, service: str, rule: str, look: Callable[[], None] = lambda: None) -> Document:
    """Watch one rule run, count its calls, and return the point that it made."""
    since = stage.ground.now()
    before = total(stage.ground.calls())
    stage.watch.until_done(since, look)
    stage.ground.advance_to(since + WINDOW - STEP)
    called = total(stage.ground.calls()) - before - WINDOW // TICK * stage.report.calls_per_tick
    stage.report.calls_per_backup.setdefault(service, {})[rule] = round(called)
    [point] = [each for each in stage.points(service, rule) if moment(each["nominal_at"]) > since]
    return point
