"""Act 4: days pass, files change, and the lifecycle thins what was kept."""

from datetime import datetime
from itertools import groupby

from demo.acts.outage import live_through
from demo.evidence import kept
from demo.evidence.expected import nights
from demo.evidence.outage import check_failures
from demo.farshore import Document, moment
from demo.stage import DAY, HOUR, MINUTE, PLANS, TICK, DemoStage

SUNDAY = 6


def pass_days(stage: DemoStage) -> None:
    """Let the days pass, with a line for each; files change at noon."""
    since = stage.ground.now()
    for day in range(1, stage.report.days + 1):
        noon = stage.midnight + (day - 1) * DAY + 12 * HOUR
        stage.ground.advance_to(noon)
        _tell_day(stage, day, since)
        stage.scene.pass_a_day(day)
        stage.trees[noon + 12 * HOUR] = stage.scene.trees()
        live_through(stage, day)
        since = noon


def check_what_is_left(stage: DemoStage) -> None:
    """Compare what is left, just after the lifecycles ran at midnight, with a calendar."""
    judged_at = stage.midnight + stage.report.days * DAY
    stage.ground.advance_to(judged_at + 3 * TICK)
    jobs, points = stage.farshore.jobs(stage.began), stage.farshore.points()
    check_failures(stage.claims, jobs, stage.report.outage_lasted)
    for lineage in _lineages(stage, points):
        kept.check_made(stage.claims, lineage)
        kept.check_left(stage.claims, lineage, judged_at)
    verdicts = kept.verdicts_of(jobs)
    kept.check_reasons(stage.claims, points, verdicts)
    kept.check_no_orphans(stage.claims, stage.ground, points)
    _tell_reasons(stage, verdicts)


def _tell_day(stage: DemoStage, day: int, since: datetime) -> None:
    jobs = stage.farshore.jobs(since)
    backups, copies = (sum(job["kind"] == kind for job in jobs) for kind in ("backup", "copy"))
    gone = sum(not each["keep"] for job in jobs for each in job.get("judged", ()))
    stage.say(f"day {day}: {backups} backups, {copies} copies, {gone} let go")
    failed = [job for job in jobs if job["state"] == "FAILED"]
    if failed:
        stage.teller.note(f"{len(failed)} jobs failed, the first: {failed[-1]['id']}: {failed[-1]['reason']}")


def _lineages(stage: DemoStage, points: list[Document]) -> list[kept.Lineage]:
    """Return every rule with its points and the times at which backups were due."""
    begins, end = stage.midnight + HOUR, stage.ground.now()
    asked_at = min(moment(each["nominal_at"]) for each in points if each["rule"] == "weekly")
    last = [at for at in [stage.report.replaced_at] if at]
    expected = {
        ("orders", "nightly"): sorted([*nights(begins, end), *last]),
        ("orders", "volumes"): nights(begins + HOUR, end, weekday=SUNDAY),
        ("files", "volumes"): nights(begins + 20 * MINUTE, end),
        ("files", "weekly"): [asked_at, *nights(begins + 40 * MINUTE, end, weekday=SUNDAY)],
    }
    return [
        kept.Lineage(
            plan["service"],
            rule,
            expected[name, rule["name"]],
            [each for each in points if (each["plan"], each["rule"]) == (name, rule["name"])],
            [asked_at] if (name, rule["name"]) == ("files", "weekly") else (),
        )
        for name, plan in PLANS.items()
        for rule in plan["rules"]
    ]


def _tell_reasons(stage: DemoStage, verdicts: kept.Verdicts) -> None:
    """Show why each point of one rule is there or not; backups with the same verdict share a line."""
    stage.say("why the nightly backups of orders-db are in the primary vault, or no longer:")
    for point in stage.points("orders-db", "nightly"):
        verdict = verdicts[point["id"], "primary"]
        fate = "keep" if verdict["keep"] else "delete"
        shown = {"made": point["nominal_at"], "verdict": fate, "reason": verdict["reason"]}
        stage.report.reasons.append(shown)
    same = groupby(stage.report.reasons, lambda each: (each["verdict"], each["reason"]))
    for (fate, reason), group in same:
        made = [each["made"][:10] for each in group]
        named = made[0] if len(made) == 1 else f"{len(made)} backups from {made[-1]} to {made[0]}"
        stage.teller.note(f"{fate:6}  {named}: {reason}")
