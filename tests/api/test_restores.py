"""POST /restores: a volume or a service, from any vault, at any time; what cannot be restored is refused."""

import random
from collections.abc import Iterator
from datetime import timedelta

import pytest

from local_cloud.cloud import Cloud
from stage import DR_REGION, HOME_REGION
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
            "script": 'cat data > "$2"',
            "restore": 'cat > restored; cmp restored "$2"',
            "verify": "test -s restored",
            "copies": [{"vault": "dr"}, {"vault": "offsite"}],
            **KEPT,
        },
        {"name": "one-way", "kind": "service", "script": 'cat data > "$2"', **KEPT},
    ],
}
INSTANCE = "the id of an instance, such as i-0123456789abcdef0"
ZONE = "a zone of eu-central-1, where vault primary keeps the snapshots, such as eu-central-1a"
ZONES = "eu-central-1a, eu-central-1b, eu-central-1c"
REGIONS = {"primary": HOME_REGION, "dr": DR_REGION}


class Orders:
    """A service with two points of each rule; `contents` is what its file held when each was made."""

    def __init__(self, app: Deployment) -> None:
        self.app = app
        self.instance, self.fresh = app.run_instance(app="orders", gib=2), app.run_instance(app="fresh")
        app.store_plan("orders", PLAN)
        self.contents = [random.Random(seed).randbytes(3_000_000) for seed in (1, 2)]
        self.volumes, self.files = [], []
        for content in self.contents:
            (app.directory(self.instance) / "data").write_bytes(content)
            (app.directory(self.instance) / "volumes" / "sdf" / "data").write_bytes(content)
            self.volumes.append(app.make_point("orders", "volumes"))
            self.files.append(app.make_point("orders", "files"))
            app.cloud.advance(timedelta(minutes=10))
        self.one_way = app.make_point("orders", "one-way")

    @property
    def onto(self) -> Document:
        return {"instance_id": self.fresh}

    def restore(self, **order: object) -> Document:
        """Return the job of a restore that is over."""
        [job] = self.app.post("/restores", order)
        self.app.finish()
        return self.app.job(job)

    def restored(self) -> bytes:
        """Return what was restored onto the fresh instance, and remove it."""
        file = self.app.directory(self.fresh) / "restored"
        content = file.read_bytes()
        file.unlink()
        return content

    def read_volume(self, volume: Document, region: str) -> bytes:
        """Attach a volume to an instance of its region and answer what its file holds."""
        ec2 = self.app.ec2(region)
        zone = volume["AvailabilityZone"]
        started = ec2.run_instances(
            ImageId="ami-12345678", MinCount=1, MaxCount=1, Placement={"AvailabilityZone": zone}
        )
        instance = started["Instances"][0]["InstanceId"]
        self.app.cloud.advance(timedelta(seconds=10))
        ec2.attach_volume(VolumeId=volume["VolumeId"], InstanceId=instance, Device="/dev/sdr")
        return (self.app.directory(instance) / "volumes" / "sdr" / "data").read_bytes()


@pytest.fixture(scope="module")
def orders(cloud: Cloud) -> Iterator[Orders]:
    with fresh_stage(cloud) as app:
        yield Orders(app)


@pytest.mark.parametrize("vault", ["primary", "dr", "offsite"])
@pytest.mark.parametrize("number", [0, 1])
def test_a_service_is_restored_from_each_vault_byte_for_byte(orders: Orders, vault: str, number: int) -> None:
    job = orders.restore(recovery_point=orders.files[number]["id"], vault=vault, target=orders.onto)
    assert (job["state"], job["vault"], job["target"]) == ("COMPLETED", vault, orders.onto), job["reason"]
    assert job["reason"] == f"restored 3,000,000 bytes onto {orders.fresh} and its verify script passed"
    assert orders.restored() == orders.contents[number]
    assert orders.app.uploads() == []
    assert not [key for key in orders.app.keys("primary") if key.startswith("staging/")]


@pytest.mark.parametrize("vault", ["primary", "dr"])
@pytest.mark.parametrize("more", [{}, {"size": 5, "type": "gp3"}])
def test_a_volume_is_restored_in_the_region_of_each_vault(orders: Orders, vault: str, more: Document) -> None:
    zone = f"{REGIONS[vault]}a"
    target = {"availability_zone": zone, **more}
    job = orders.restore(recovery_point=orders.volumes[0]["id"], vault=vault, target=target)
    assert job["state"] == "COMPLETED", job["reason"]
    [volume_id] = job["made"].values()
    [volume] = orders.app.ec2(REGIONS[vault]).describe_volumes(VolumeIds=[volume_id])["Volumes"]
    made = (volume["AvailabilityZone"], volume["Size"], volume["VolumeType"])
    assert made == (zone, more.get("size", 2), more.get("type", "gp2"))
    tags = {tag["Key"]: tag["Value"] for tag in volume["Tags"]}
    assert tags["farshore:recovery-point"] == orders.volumes[0]["id"]
    assert tags["farshore:job"] == job["id"]
    assert orders.read_volume(volume, REGIONS[vault]) == orders.contents[0]


def test_without_a_vault_the_nearest_is_taken(orders: Orders) -> None:
    job = orders.restore(recovery_point=orders.files[0]["id"], target=orders.onto)
    assert (job["state"], job["vault"]) == ("COMPLETED", "primary")


def test_by_service_and_rule_the_newest_point_is_taken_or_the_newest_by_then(orders: Orders) -> None:
    named = {"service": "orders", "rule": "files", "target": orders.onto}
    old, new = orders.files
    assert orders.restore(**named)["recovery_point"] == new["id"]
    assert orders.restore(**named, at=new["created_at"][:-1] + ".999999Z")["recovery_point"] == new["id"]
    assert orders.restore(**named, at=new["nominal_at"])["recovery_point"] == old["id"]
    assert orders.restored() == orders.contents[0]


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (
            {"at": "2020-01-01T00:00:00Z"},
            "no recovery point that can be restored made by 2020-01-01 00:00:00 UTC",
        ),
        ({"rule": "none"}, "service orders, rule none: there is no recovery point that can be restored"),
        ({"service": "none"}, "service none, rule files: there is no recovery point"),
        ({"rule": "volumes", "vault": "offsite"}, "no recovery point that can be restored in vault offsite"),
    ],
)
def test_where_no_point_fits_it_is_said_what_was_looked_for(
    orders: Orders, order: Document, said: str
) -> None:
    body = {"service": "orders", "rule": "files", "target": orders.onto, **order}
    assert said in orders.app.ask("POST", "/restores", body).problem(404)["detail"]


def test_a_dry_run_shows_what_would_be_done_and_does_nothing(orders: Orders) -> None:
    before = orders.app.everything("/jobs")
    order = {
        "recovery_point": orders.files[0]["id"],
        "vault": "offsite",
        "target": orders.onto,
        "dry_run": True,
    }
    answer = orders.app.ask("POST", "/restores", order)
    assert answer.status == 200
    would = answer.document["would"]
    assert answer.document["jobs"] == []
    assert (would["method"], would["vault"], would["target"]) == ("service", "offsite", orders.onto)
    assert would["reason"] == f"restore of {orders.files[0]['id']} from offsite onto {orders.fresh}"
    assert would["restore"] == PLAN["rules"][1]["restore"]
    zone = {"availability_zone": f"{DR_REGION}a"}
    order = {"recovery_point": orders.volumes[0]["id"], "vault": "dr", "target": zone, "dry_run": True}
    would = orders.app.ask("POST", "/restores", order).document["would"]
    assert (would["method"], would["region"], would["target"]) == (
        "volume",
        DR_REGION,
        zone,
    )
    orders.app.finish()
    assert orders.app.everything("/jobs") == before


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("kind", "target", "faults"),
    [
        ("files", {}, {"instance_id": INSTANCE}),
        ("files", {"instance_id": 5}, {"instance_id": INSTANCE}),
        ("files", {"instance_id": "i-*"}, {"instance_id": INSTANCE}),
        (
            "files",
            {"instance_id": "i-0123456789abcdef0"},
            {"instance_id": "an instance of eu-central-1 that is not terminated"},
        ),
        (
            "files",
            {"availability_zone": "eu-central-1a"},
            {
                "availability_zone": "nothing: the point is a file, whose target is an instance_id",
                "instance_id": INSTANCE,
            },
        ),
        (
            "volumes",
            {"instance_id": "i-0123456789abcdef0"},
            {"instance_id": "an instance of eu-central-1 that is not terminated"},
        ),
        ("volumes", {}, {"availability_zone": ZONE}),
        (
            "volumes",
            {"availability_zone": "eu-west-1a"},
            {"availability_zone": ZONE},
        ),
        (
            "volumes",
            {"availability_zone": "eu-central-1z"},
            {"availability_zone": f"a zone of eu-central-1, one of {ZONES}"},
        ),
        (
            "volumes",
            {"availability_zone": "eu-central-1a", "size": 1},
            {"size": "GiB, at least the snapshot's 2"},
        ),
        (
            "volumes",
            {"availability_zone": "eu-central-1a", "size": "big", "type": 3},
            {"size": "GiB, at least the snapshot's, such as 100", "type": "an EBS volume type, such as gp3"},
        ),
    ],
)
def test_a_target_that_cannot_be_is_refused_with_what_would_be_right(
    orders: Orders, kind: str, target: Document, faults: dict[str, str], dry_run: bool
) -> None:
    point = orders.files[0] if kind == "files" else orders.volumes[0]
    before = orders.app.everything("/jobs")
    order = {"recovery_point": point["id"], "target": target, "dry_run": dry_run}
    answer = orders.app.ask("POST", "/restores", order)
    assert answer.faults() == {f"/target/{name}": expected for name, expected in faults.items()}
    assert orders.app.everything("/jobs") == before


def test_a_rule_without_a_restore_script_is_refused_until_it_has_one(orders: Orders) -> None:
    order = {"recovery_point": orders.one_way["id"], "target": orders.onto}
    pointer, value, expected = orders.app.ask("POST", "/restores", order).fault()
    assert (pointer, value) == ("/recovery_point", orders.one_way["id"])
    assert expected == "a `restore` script in rule 'one-way' of plan 'orders'"
    mended = [*PLAN["rules"][:2], {**PLAN["rules"][2], "restore": "cat > restored"}]
    orders.app.store_plan("orders", {**PLAN, "rules": mended})
    job = orders.restore(**order)
    orders.app.store_plan("orders", PLAN)
    assert job["state"] == "COMPLETED", job["reason"]
    assert orders.restored() == orders.contents[1]


def test_a_point_is_restored_by_its_own_scripts_once_its_plan_is_gone(orders: Orders) -> None:
    orders.app.ask("DELETE", "/plans/orders")
    job = orders.restore(recovery_point=orders.files[0]["id"], target=orders.onto)
    orders.app.store_plan("orders", PLAN)
    assert job["state"] == "COMPLETED", job["reason"]
    assert orders.restored() == orders.contents[0]


def test_a_point_that_failed_or_was_deleted_is_refused_with_its_state(orders: Orders) -> None:
    orders.app.store_plan(
        "odd", {**PLAN, "service": "odd", "rules": [{**PLAN["rules"][1], "script": "exit 4"}]}
    )
    [job] = orders.app.post("/backups", {"plan": "odd"})
    orders.app.finish()
    failed = orders.app.job(job)["recovery_point"]
    orders.app.store_plan("odd", {**PLAN, "service": "odd", "rules": [PLAN["rules"][1]]})
    deleted, _ = (orders.app.make_point("odd", "files")["id"] for _ in range(2))
    assert orders.app.ask("DELETE", f"/recovery-points/{deleted}").status == 202
    orders.app.finish()
    for point, state in ((failed, "FAILED"), (deleted, "DELETED")):
        order = {"recovery_point": point, "target": orders.onto}
        detail = orders.app.ask("POST", "/restores", order).problem(409)["detail"]
        assert detail.startswith(f"restoring failed on {point}: it is {state} and no longer in any vault")
    assert (
        "script exited 4"
        in orders.app.ask("POST", "/restores", {"recovery_point": failed, "target": orders.onto}).text
    )
    orders.app.ask("DELETE", "/plans/odd")


def test_a_vault_that_does_not_have_the_point_is_refused_with_those_that_have(orders: Orders) -> None:
    order = {
        "recovery_point": orders.volumes[0]["id"],
        "vault": "offsite",
        "target": {"availability_zone": "x"},
    }
    detail = orders.app.ask("POST", "/restores", order).problem(404)["detail"]
    assert detail.endswith("it is not in vault 'offsite'; it can be restored from: primary, dr")


def test_a_snapshot_that_is_gone_fails_the_restore_and_is_named(orders: Orders) -> None:
    point = orders.app.make_point("orders", "volumes")
    [artefact] = [each for each in point["artefacts"] if each["vault"] == "primary"]
    [snapshot] = artefact["snapshot_ids"]
    orders.app.ec2().delete_snapshot(SnapshotId=snapshot)
    job = orders.restore(recovery_point=point["id"], target={"availability_zone": f"{HOME_REGION}a"})
    assert job["state"] == "FAILED"
    assert f"CreateVolume failed on {snapshot} in {HOME_REGION}" in job["reason"]


@pytest.mark.parametrize(
    ("target", "pointer", "said"),
    [
        ({"type": "gp99"}, "/target/type", "an EBS volume type: gp3, gp2, io2, io1, st1, sc1, standard"),
        ({"type": "st1"}, "/target/type", "st1 takes 125 to 16,384 GiB, and {of} would have 2"),
        (
            {"type": "standard", "size": 2000},
            "/target/size",
            "standard takes 1 to 1,024 GiB, and {of} would have 2,000",
        ),
        ({"iops": 3000}, "/target/iops", "nothing: gp2 has no iops to set"),
        (
            {"type": "io2", "size": 4, "iops": 4001},
            "/target/iops",
            "io2 takes 100 to 4,000 IOPS at 4 GiB, as {of} would have",
        ),
        (
            {"type": "gp3", "throughput": 751},
            "/target/throughput",
            "gp3 takes 125 to 750 MiB/s at 3,000 IOPS, as {of} would have",
        ),
    ],
)
def test_what_ebs_cannot_make_is_refused_with_the_bound(
    orders: Orders, target: Document, pointer: str, said: str
) -> None:
    point = orders.volumes[0]
    [artefact] = [each for each in point["artefacts"] if each["vault"] == "primary"]
    [volume] = point["source"]["volumes"]
    order = {"recovery_point": point["id"], "target": {"availability_zone": f"{HOME_REGION}a", **target}}
    found, _, expected = orders.app.ask("POST", "/restores", order).fault()
    assert (found, expected) == (pointer, said.format(of=f"{artefact['snapshot_ids'][0]} of {volume}"))
