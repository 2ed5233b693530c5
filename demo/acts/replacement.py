"""Act 3: the orders' group replaces its instance, and the next one comes up with the data and the address."""

from demo.evidence import replaced
from demo.farshore import moment
from demo.report import spoken
from demo.stage import MINUTE, DemoStage
from demo.watch import FINAL


def replace_instance(stage: DemoStage) -> None:
    """Have the group end the instance, watch the next one come up, and check what it has."""
    stage.ground.advance(2 * MINUTE)
    group, allocation = stage.scene.group, stage.scene.elastic_ip
    replacement = replaced.Replacement(stage.ground, group, stage.scene.instances["orders-1"])
    before, since = group.holder(allocation), stage.ground.now()
    stage.orders.stop()
    stage.say(f"clients are drained from {replacement.old}, and its group terminates it")
    group.replace(replacement.old)
    stage.watch.until(since, lambda jobs: replacement.look() and all(job["state"] in FINAL for job in jobs))
    stage.say(f"{replacement.new} is in service, {spoken(stage.ground.now() - since)} later")
    point = stage.points("orders-db", "nightly")[0]
    job = next(
        str(each["id"])
        for each in stage.farshore.jobs(since)
        if each["kind"] == "backup" and each.get("recovery_point") == point["id"]
    )
    replaced.check_saved(stage.claims, replacement, point, job)
    folder = stage.ground.directory(replacement.new)
    replaced.check_came_up(stage.claims, replacement, folder, job, stage.orders.rows)
    replaced.check_address(stage.claims, replacement, before, group.holder(allocation))
    stage.scene.go_on_with(replacement.new)
    stage.orders.go_on(folder / "orders.db")
    stage.report.replaced_at = moment(point["nominal_at"])
