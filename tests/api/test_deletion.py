"""DELETE /recovery-points/{id}: guarded, and then really gone, in every vault."""

from collections import Counter
from collections.abc import Iterator

import pytest

from local_cloud.cloud import Cloud
from tests.support.deployment import NEVER, Deployment, Document
from tests.support.farshore import fresh_stage

KEPT = {"schedule": NEVER, "lifecycle": {"count": 50}}
PLAN: Document = {
    "selection": {"tags": {"app": "orders"}},
    "rules": [
        {
            "name": "volumes",
            "kind": "snapshot",
            "volumes": {"boot": False},
            "copies": [{"vault": "dr"}],
            **KEPT,
        },
        {
            "name": "files",
            "kind": "service",
            "script": 'echo hello > "$2"',
            "restore": "cat > restored",
            "copies": [{"vault": "dr"}, {"vault": "offsite"}],
            **KEPT,
        },
        {"name": "broken", "kind": "service", "script": "false", **KEPT},
    ],
}


class Orders:
    """A stage with one instance and the plan."""

    def __init__(self, app: Deployment) -> None:
        self.app = app
        self.instance = app.run_instance(app="orders")
        app.store_plan("orders", PLAN)

    def delete(self, point: Document) -> Document:
        """Return the job of a deletion that is over."""
        answer = self.app.ask("DELETE", f"/recovery-points/{point['id']}")
        assert answer.status == 202, answer.text
        [job] = answer.document["jobs"]
        self.app.finish()
        return self.app.job(job)

    def refusal(self, point: Document) -> str:
        """Return why a point is not deleted."""
        detail: str = self.app.ask("DELETE", f"/recovery-points/{point['id']}").problem(409)["detail"]
        prefix = f"deleting failed on {point['id']}: "
        assert detail.startswith(prefix)
        return detail.removeprefix(prefix)


@pytest.fixture(scope="module")
def orders(cloud: Cloud) -> Iterator[Orders]:
    with fresh_stage(cloud) as app:
        yield Orders(app)


def test_snapshots_are_deleted_in_both_regions(orders: Orders) -> None:
    old, new = (orders.app.make_point("orders", "volumes") for _ in range(2))
    job = orders.delete(old)
    assert (job["state"], job["reason"]) == ("COMPLETED", "kept 0, deleted 2")
    assert [(each["vault"], each["keep"], each["reason"]) for each in job["judged"]] == [
        ("dr", False, "deleted by request"),
        ("primary", False, "deleted by request"),
    ]
    left = {*orders.app.snapshots("primary"), *orders.app.snapshots("dr")}
    for artefact in old["artefacts"]:
        assert not left & set(artefact["snapshot_ids"])
    for artefact in new["artefacts"]:
        assert left >= set(artefact["snapshot_ids"])
    gone = orders.app.point(old["id"])
    assert (gone["state"], {each["state"] for each in gone["artefacts"]}) == ("DELETED", {"DELETED"})


def test_files_are_deleted_in_every_vault_and_those_of_other_points_stay(orders: Orders) -> None:
    old, new = (orders.app.make_point("orders", "files") for _ in range(2))
    assert orders.delete(old)["state"] == "COMPLETED"
    for vault in ("primary", "dr", "offsite"):
        keys = orders.app.keys(vault)
        assert not [key for key in keys if key.startswith(old["artefacts"][0]["folder"])]
        assert [key for key in keys if key.startswith(new["artefacts"][0]["folder"])]
    assert orders.app.point(new["id"]) == new


def test_the_newest_good_point_of_a_lineage_is_never_deleted(orders: Orders) -> None:
    for rule in ("volumes", "files"):
        newest = orders.app.make_point("orders", rule)
        assert orders.refusal(newest) == "it is the newest good point of its lineage, which is never deleted"
        assert orders.app.point(newest["id"]) == newest


def test_a_point_that_a_restore_needs_stays(orders: Orders) -> None:
    point, _ = (orders.app.make_point("orders", "files") for _ in range(2))
    order = {"recovery_point": point["id"], "target": {"instance_id": orders.instance}}
    [restore] = orders.app.post("/restores", order)
    assert orders.refusal(point) == f"restore {restore} of it is under way"
    orders.app.finish()
    assert orders.delete(point)["state"] == "COMPLETED"


def test_a_point_that_a_copy_needs_stays(orders: Orders) -> None:
    [job] = orders.app.post("/backups", {"plan": "orders", "rule": "volumes"})
    point = orders.app.job(job)["recovery_point"]
    orders.app.cloud.settle()
    creating = orders.app.point(point)
    assert creating["state"] == "CREATING"
    assert orders.refusal(creating) == "it is CREATING"
    orders.app.finish()


def test_a_point_that_is_deleted_is_not_deleted_again(orders: Orders) -> None:
    old, _ = (orders.app.make_point("orders", "files") for _ in range(2))
    orders.delete(old)
    assert orders.refusal(old) == "it is DELETED"


def test_a_point_that_failed_has_nothing_to_delete(orders: Orders) -> None:
    [job] = orders.app.post("/backups", {"plan": "orders", "rule": "broken"})
    orders.app.finish()
    point = orders.app.point(orders.app.job(job)["recovery_point"])
    assert orders.refusal(point) == "it is FAILED and is in no vault: there is nothing to delete"


def test_a_snapshot_that_an_image_uses_is_told_and_goes_once_that_is_deregistered(orders: Orders) -> None:
    old, _ = (orders.app.make_point("orders", "volumes") for _ in range(2))
    [artefact] = [each for each in old["artefacts"] if each["vault"] == "primary"]
    [snapshot] = artefact["snapshot_ids"]
    ec2 = orders.app.ec2()
    image = ec2.register_image(
        Name="of the snapshot",
        RootDeviceName="/dev/sda1",
        BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot}}],
    )["ImageId"]
    job = orders.delete(old)
    assert job["state"] == "COMPLETED"
    assert f"could not delete 1 yet: {snapshot} is used by an AMI" in job["reason"]
    assert orders.app.point(old["id"])["state"] == "EXPIRED"
    assert snapshot in orders.app.snapshots()
    ec2.deregister_image(ImageId=image)
    assert orders.delete(old)["reason"] == "kept 0, deleted 1"
    assert orders.app.point(old["id"])["state"] == "DELETED"
    assert snapshot not in orders.app.snapshots()


def test_points_outlive_their_plan_and_can_be_deleted_without_it(orders: Orders) -> None:
    orders.app.make_point("orders", "volumes")
    old, new = (orders.app.make_point("orders", "files") for _ in range(2))
    answer = orders.app.ask("DELETE", "/plans/orders")
    assert answer.status == 200
    stays = {(each["rule"], each["kind"], each["services"]) for each in answer.document["stays_behind"]}
    assert stays == {("volumes", "snapshot", 1), ("files", "service", 1)}
    [files] = [each for each in answer.document["stays_behind"] if each["rule"] == "files"]
    there = orders.app.everything("/recovery-points", rule="files", state="AVAILABLE")
    kept = (each for point in there for each in point["artefacts"] if each["state"] == "AVAILABLE")
    assert files["points"] == Counter(each["vault"] for each in kept)
    assert orders.app.point(new["id"]) == new
    assert orders.delete(old)["state"] == "COMPLETED"
    assert "newest good point" in orders.refusal(new)
    orders.app.store_plan("orders", PLAN)
