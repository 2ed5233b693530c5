"""Act 5: the orders' group and the home bucket are lost; both services are restored from other vaults."""

import time

from demo import database, scene
from demo.evidence import kept, made, restored
from demo.farshore import Document, artefact, moment
from demo.ground import DR, HOME
from demo.report import Restore, duration, spoken, spoken_text
from demo.stage import DAY, HOUR, PLANS, SECOND, DemoStage

RTO = duration(PLANS["orders"]["objectives"]["rto"])


def take_stock(stage: DemoStage) -> None:
    """Check the services at noon, just before the disaster."""
    stage.ground.advance_to(stage.midnight + stage.report.days * DAY + 12 * HOUR)
    stage.scene.pass_a_day(stage.report.days + 1)
    stage.report.status = stage.farshore.status()
    for name, status in stage.report.status.items():
        achieved, objective = (spoken_text(status["rpo"][each]) for each in ("achieved", "objective"))
        stage.claims.check(f"{name} meets its RPO", status["rpo"]["met"], f"{achieved}, promised {objective}")


def lose_home(stage: DemoStage) -> made.Notes:
    """Delete the group and its instance, make the home bucket fail; return what the backup script noted."""
    lost, bucket = stage.scene.instances["orders-1"], restored.home_bucket(stage.ground)
    notes = made.script_notes(stage.scene.directory("orders-1"))
    stage.orders.stop()
    stage.scene.group.delete()
    stage.ground.control.ask("PUT", "/faults", restored.unreachable(bucket))
    stage.ground.advance(10 * SECOND)
    stage.say(f"the orders' group is deleted with {lost}, and {bucket} answers nothing but errors")
    restored.check_lost(stage.claims, stage.ground, lost)
    return notes


def restore_orders(stage: DemoStage, notes: made.Notes) -> None:
    """Restore the service onto a fresh instance, from another cloud."""
    point = next(each for each in stage.points("orders-db", "nightly") if artefact(each, "offsite"))
    fresh = scene.launch(stage.ground, HOME, "orders-2", {"app": "orders"})
    directory = stage.ground.directory(fresh)
    scene.install_scripts(directory)
    stage.say(f"a fresh instance starts, {fresh}; the newest backup off-site is of {point['created_at']}")
    job = _restored(stage, "service", point, "offsite", {"instance_id": fresh})
    stage.claims.check("its verify script passed", "verify script passed" in job["reason"], job["reason"])
    found = database.read(directory / "orders.db")
    restored.check_database(stage.claims, found, notes[_maker(stage, point)])
    took = stage.report.restores["orders-db"].simulated
    stage.claims.check("it is back within its RTO", took <= RTO, f"{spoken(took)}, promised {spoken(RTO)}")
    stage.teller.note(f"{stage.orders.rows - found.rows:,} orders came in after the backup, and are lost")


def restore_volumes(stage: DemoStage) -> None:
    """Restore the files' volumes in the other region, from the snapshots there."""
    point = next(each for each in stage.points("files", "volumes") if artefact(each, "dr"))
    zones = stage.ground.client("ec2", DR).describe_availability_zones()["AvailabilityZones"]
    job = _restored(stage, "volumes", point, "dr", {"availability_zone": zones[0]["ZoneName"]})
    places = scene.attach_abroad(stage.ground, restored.volumes_by_original(stage.ground, point, job["made"]))
    night = moment(point["nominal_at"]).replace(hour=0, minute=0)
    for volume, place in places.items():
        now = stage.scene.volumes[volume].tree
        restored.check_volume(stage.claims, volume, stage.trees[night][volume], now, place)


def check_left_clean(stage: DemoStage) -> None:
    """Check that the restores left nothing in the vault that they were made from."""
    kept.check_bucket(stage.claims, stage.ground, "dr", stage.farshore.points())


def _restored(stage: DemoStage, what: str, point: Document, vault: str, target: Document) -> Document:
    """Request a restore, watch it end, and record its times."""
    service, began = point["service"], time.monotonic()
    order = stage.farshore.restore(service, recovery_point=point["id"], vault=vault, target=target)
    stage.say(f"POST /restores from {vault}: {order}")
    job = stage.watch.until_over(order)
    took = moment(job["updated_at"]) - moment(job["created_at"])
    stage.report.restores[service] = Restore(what, vault, took, time.monotonic() - began)
    stage.claims.same(f"{service} is restored from {vault}", "COMPLETED", job["state"], job["reason"])
    return job


def _maker(stage: DemoStage, point: Document) -> str:
    """Return the job that made a point."""
    jobs = stage.farshore.jobs(service=point["service"], kind="backup")
    return next(str(job["id"]) for job in jobs if job.get("recovery_point") == point["id"])
