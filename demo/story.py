"""The story, in five acts: a scene, a first night, forty days, a disaster, and a table."""

import json
import time
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from demo import database, scene
from demo.claims import Claims
from demo.evidence import kept, made, restored
from demo.evidence.expected import nights
from demo.farshore import Document, Farshore, artefact, moment
from demo.files import Tree
from demo.ground import DR, HOME, Ground
from demo.listener import Listener
from demo.report import Report, Restore, total
from demo.telling import Teller
from demo.watch import STEP, Watch

PLANS = {
    name: json.loads((Path(__file__).parent / "plans" / f"{name}.json").read_text())
    for name in ("orders", "files")
}
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
DAYS = 40
TICK = 5 * MINUTE


class Story:
    """Plays on a ground, tells as it goes, and keeps claims and figures."""

    def __init__(self, ground: Ground, teller: Teller, report: Report, scratch: Path) -> None:
        """Take the stage; `scratch` is a folder for what is looked at."""
        self.ground, self.teller, self.report, self.scratch = ground, teller, report, scratch
        self.farshore = Farshore(ground.api)
        self.claims = Claims(teller.claim)
        self.scene = scene.Scene(ground)
        self.trees: dict[datetime, dict[str, Tree]] = {}
        self.jobs: dict[str, Document] = {}

    def play(self) -> None:
        """Play all acts."""
        began = time.monotonic()
        with ExitStack() as stage:
            self.set_scene(stage)
            self.first_night()
            self.forty_days()
            self.disaster()
        self.report.wall_seconds = time.monotonic() - began

    def set_scene(self, stage: ExitStack) -> None:
        """Act 1: two services on three instances, with data that changes all the time."""
        self.teller.act("1. Two services on three instances, with real data")
        noon = self.ground.now().replace(hour=12, minute=0, second=0, microsecond=0)
        noon += DAY * (noon < self.ground.now())
        self.ground.advance_to(noon)
        self.scene.build()
        for name, instance in self.scene.instances.items():
            self.say(f"{name} runs as {instance} in {HOME}")
        file = self.scene.directory("orders-1") / "orders.db"
        self.orders = stage.enter_context(database.OrderEntry(file, seed=1))
        self.say(f"orders.db has {self.orders.rows:,} orders, and more come in all the time")
        size = self.scene.size_bytes
        self.claims.check(
            "there are 64 MiB of files or more", size >= 64 << 20, f"{size / (1 << 20):.0f} MiB"
        )
        self.watch = Watch(self.ground, self.farshore, Listener(self.ground, HOME), self.teller)

    def first_night(self) -> None:
        """Act 2: the plans are sent, a backup is asked for, and then the schedule makes its own."""
        self.teller.act("2. Plans are sent, backups are made and copied")
        self.started = self.ground.now().replace(microsecond=0)
        for name, plan in PLANS.items():
            answer = self.farshore.put_plan(name, plan)
            self.say(f"PUT /plans/{name}: {len(answer['rules'])} rules, {len(answer['warnings'])} warnings")
        asked = self.farshore.back_up("files", "weekly", key="first")
        again = self.farshore.back_up("files", "weekly", key="first")
        self.claims.same(
            "the same request again makes no second job", asked, again, f"POST /backups: {asked[0]}"
        )
        self.watch.until_done(self.started)
        self.midnight = self.started.replace(hour=0, minute=0, second=0) + DAY
        self.trees[self.midnight] = self.scene.trees()
        self.measure_idle_ticks()
        self.watch_service_backup()
        self.watch_snapshots()
        self.watch.listener.close()

    def measure_idle_ticks(self) -> None:
        """Count what the app calls when nothing is due."""
        self.ground.advance_to(self.midnight + 30 * MINUTE - STEP)
        before = total(self.ground.calls())
        self.ground.advance(4 * TICK)
        self.report.calls_per_tick = (total(self.ground.calls()) - before) / 4

    def watch_service_backup(self) -> None:
        """The schedule runs the orders' script while orders come in."""
        self.ground.advance_to(self.midnight + HOUR - STEP)
        rows = self.orders.rows
        [point] = self.backed_up("orders-db", "nightly", 20 * MINUTE)
        notes = made.script_notes(self.scene.directory("orders-1"))
        job = made.job_that_made(self.watch, point)
        self.claims.check("the backup script ran on the instance, once", list(notes) == [job], f"for {job}")
        sha256, copied = notes[job]
        made.check_written_while(self.claims, self.orders, rows, copied)
        made.check_service_backup(self.claims, self.ground, point, sha256)
        if "://" not in self.ground.vaults["offsite"]:
            made.check_opened_offsite(self.claims, self.ground, point, sha256, self.scratch)

    def watch_snapshots(self) -> None:
        """The schedule snapshots the volumes of both services."""
        for service, minute in (("orders-db", 20), ("files", 40)):
            pending = made.Pending(self.ground)
            self.ground.advance_to(self.midnight + HOUR + minute * MINUTE - STEP)
            [point] = self.backed_up(service, "volumes", 20 * MINUTE, pending)
            made.check_snapshots(self.claims, pending, self.watch, point)

    def backed_up(
        self, service: str, rule: str, window: timedelta, pending: made.Pending | None = None
    ) -> list[Document]:
        """Watch one rule run, count its calls, and answer the points it made."""
        since, before = self.ground.now(), total(self.ground.calls())
        self.watch.until_done(since, pending.look if pending else lambda: None)
        self.ground.advance_to(since + window - STEP)
        ticks = window // TICK
        called = total(self.ground.calls()) - before - ticks * self.report.calls_per_tick
        self.report.calls_per_backup.setdefault(service, {})[rule] = round(called)
        return [
            each
            for each in self.farshore.points(service=service, rule=rule)
            if moment(each["nominal_at"]) > since
        ]

    def forty_days(self) -> None:
        """Act 3: days pass, files change, the lifecycle thins what was kept."""
        self.teller.act(f"3. {DAYS} days pass")
        for day in range(1, DAYS + 1):
            noon = self.midnight + (day - 1) * DAY + 12 * HOUR
            since = self.ground.now()
            self.ground.advance_to(noon)
            self.tell_day(day, since)
            self.scene.pass_a_day(day)
            self.trees[noon + 12 * HOUR] = self.scene.trees()
        self.judged_at = self.ground.advance_to(self.midnight + DAYS * DAY + 3 * TICK).replace(minute=0)
        self.check_forty_days()

    def tell_day(self, day: int, since: datetime) -> None:
        """Tell what the app did since then."""
        jobs = {job["id"]: job for job in self.farshore.jobs(since)}
        self.jobs |= jobs
        done = {kind: sum(job["kind"] == kind for job in jobs.values()) for kind in ("backup", "copy")}
        gone = sum(not each["keep"] for job in jobs.values() for each in job.get("judged", ()))
        self.say(f"day {day}: {done['backup']} backups, {done['copy']} copies, {gone} let go")
        for job in jobs.values():
            if job["state"] != "COMPLETED":
                self.teller.note(f"{job['id']} is {job['state']}: {job['reason']}")

    def check_forty_days(self) -> None:
        """Check what is left against a calendar, and nothing else."""
        jobs = self.farshore.jobs(self.started)
        failed = [f"{job['id']}: {job['reason']}" for job in jobs if job["state"] != "COMPLETED"]
        self.claims.check("no job failed", not failed, failed[0] if failed else f"{len(jobs)} jobs")
        points = self.farshore.points()
        for lineage in self.lineages(points):
            kept.check_made(self.claims, lineage)
            kept.check_left(self.claims, lineage, self.judged_at)
        verdicts = {
            (each["recovery_point"], each["vault"]): each
            for job in reversed(jobs)
            for each in job.get("judged", ())
        }
        kept.check_reasons(self.claims, points, verdicts)
        kept.check_no_orphans(self.claims, self.ground, points)
        self.tell_reasons(points, verdicts)

    def lineages(self, points: list[Document]) -> list[kept.Lineage]:
        """Answer every rule with its points and the times at which its schedule had to run."""
        end = self.ground.now()
        schedules: dict[tuple[str, str], list[datetime]] = {
            ("orders", "nightly"): nights(self.midnight + HOUR, end),
            ("orders", "volumes"): nights(self.midnight + HOUR + 20 * MINUTE, end),
            ("files", "volumes"): nights(self.midnight + HOUR + 40 * MINUTE, end),
            ("files", "weekly"): nights(self.midnight + 2 * HOUR, end, weekday=6),
        }
        asked = [moment(each["nominal_at"]) for each in points if each["rule"] == "weekly"][-1:]
        schedules["files", "weekly"] = asked + schedules["files", "weekly"]
        return [
            kept.Lineage(
                name,
                plan["service"],
                rule,
                schedules[name, rule["name"]],
                [each for each in points if (each["plan"], each["rule"]) == (name, rule["name"])],
            )
            for name, plan in PLANS.items()
            for rule in plan["rules"]
        ]

    def tell_reasons(self, points: list[Document], verdicts: dict[tuple[str, str], Document]) -> None:
        """Show why each of the newest points of one rule is there or not."""
        self.say("why the nightly backups of orders-db are there or not, in the primary vault:")
        for point in points:
            verdict = verdicts.get((point["id"], "primary"))
            if (point["service"], point["rule"]) == ("orders-db", "nightly") and verdict:
                fate = "keep" if verdict["keep"] else "delete"
                shown = {"made": point["nominal_at"], "verdict": fate, "reason": verdict["reason"]}
                self.report.reasons.append(shown)
                self.teller.note(f"{shown['made']}  {fate:6}  {verdict['reason']}")

    def disaster(self) -> None:
        """Act 4: the orders' instance and the home bucket are lost; both services come back."""
        self.teller.act("4. Disaster")
        self.ground.advance_to(self.midnight + DAYS * DAY + 12 * HOUR)
        self.report.days = (self.ground.now() - self.started) // DAY
        self.report.status = self.farshore.status()
        for name, status in self.report.status.items():
            rpo = status["rpo"]
            self.claims.check(f"{name} meets its RPO", rpo["met"], f"{rpo['achieved']} of {rpo['objective']}")
        lost = self.scene.instances["orders-1"]
        self.notes = made.script_notes(self.scene.directory("orders-1"))
        self.orders.stop()
        self.ground.client("ec2", HOME).terminate_instances(InstanceIds=[lost])
        self.ground.control.ask("PUT", "/faults", restored.unreachable(restored.home_bucket(self.ground)))
        self.ground.advance(timedelta(seconds=10))
        self.say(f"{lost} is terminated, and {restored.home_bucket(self.ground)} answers nothing but errors")
        restored.check_unreachable(self.claims, self.ground, lost)
        self.restore_orders()
        self.restore_volumes()
        self.report.calls = self.ground.calls()

    def restore_orders(self) -> None:
        """The service comes back on a fresh instance, from another cloud."""
        point = next(each for each in self.points("orders-db", "nightly") if artefact(each, "offsite"))
        fresh = scene.launch(self.ground, HOME, "orders-2", {"app": "orders"})
        scene.install_scripts(self.ground.directory(fresh))
        self.say(f"a fresh instance starts: {fresh}; the newest backup off-site is of {point['created_at']}")
        job = self.restored("orders-db", "service", point, "offsite", {"instance_id": fresh})
        self.claims.check("its verify script passed", "verify script passed" in job["reason"], job["reason"])
        made_by = next(each for each in self.jobs.values() if _made(each, point))
        found = database.read(self.ground.directory(fresh) / "orders.db")
        restored.check_database(self.claims, found, self.notes[made_by["id"]])
        self.teller.note(f"{self.orders.rows - found.rows:,} orders came in after the backup, and are lost")

    def restore_volumes(self) -> None:
        """The volumes come back in the other region, from the snapshots there."""
        point = next(each for each in self.points("files", "volumes") if artefact(each, "dr"))
        zone = self.ground.client("ec2", DR).describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]
        job = self.restored("files", "volumes", point, "dr", {"availability_zone": zone})
        originals = self.originals(point)
        copies = artefact(point, "dr") or {"snapshot_ids": []}
        by_volume = dict(zip(originals, copies["snapshot_ids"], strict=True))
        places = scene.attach_abroad(self.ground, {each: job["made"][by_volume[each]] for each in originals})
        night = moment(point["nominal_at"]).replace(hour=0, minute=0)
        for volume, place in places.items():
            now = self.scene.volumes[volume].tree
            restored.check_volume(self.claims, volume, self.trees[night][volume], now, place)

    def originals(self, point: Document) -> list[str]:
        """Answer the volumes of a point, in the order of its snapshots."""
        found: Any = point["source"]["volumes"]
        return list(found)

    def restored(self, service: str, what: str, point: Document, vault: str, target: Document) -> Document:
        """Order a restore, watch it end, and take its times."""
        began, since = time.monotonic(), self.ground.now()
        order = self.farshore.restore(
            f"disaster-{service}", recovery_point=point["id"], vault=vault, target=target
        )
        self.say(f"POST /restores: {order}")
        self.watch_silently(order)
        job = self.farshore.job(order)
        took = moment(job["updated_at"]) - moment(job["created_at"])
        self.report.restores[service] = Restore(what, vault, took, time.monotonic() - began)
        self.say(f"the restore is {job['state']} since {since:%H:%M:%S}: {job['reason']}")
        self.claims.same(f"{service} is restored from {vault}", "COMPLETED", job["state"], job["reason"])
        return job

    def watch_silently(self, job_id: str) -> None:
        """Let time pass until a job has ended, and tell what it waits for."""
        reason = ""
        for _ in range(900):
            job = self.farshore.job(job_id)
            if job["reason"] != reason:
                reason = job["reason"]
                self.teller.say(moment(job["updated_at"]), f"{job['state']}: {reason}")
            if job["state"] not in ("QUEUED", "RUNNING"):
                return
            self.ground.advance(STEP)

    def points(self, service: str, rule: str) -> list[Document]:
        """Answer the points of a rule, newest first."""
        found = self.farshore.points(service=service, rule=rule)
        return sorted(found, key=lambda each: str(each["nominal_at"]), reverse=True)

    def say(self, text: str) -> None:
        """Tell something that happens now."""
        self.teller.say(self.ground.now(), text)


def _made(job: Document, point: Document) -> bool:
    return bool(job["kind"] == "backup" and job.get("recovery_point") == point["id"])
