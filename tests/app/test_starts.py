"""POST /launches starts instances for a service from its backups: where there is room, proven, measured."""

from typing import Any

import pytest

from tests.app.test_launches import KEEPS_DATA, launches, planned, read, with_a_point, write
from tests.support.deployment import Deployment, Document, service_rule, snapshot_rule

ZONES = ("eu-central-1a", "eu-central-1b", "eu-central-1c")


def ready(app: Deployment, *rules: Document, **keys: Any) -> None:
    """Have a plan, a good point of its service, and a launch template."""
    keys = {"on_launch": {"hook": None, "on_failure": "continue"}, "on_terminate": {"backup": "file"}, **keys}
    app.put_plan("orders", *(rules or (service_rule(**KEEPS_DATA),)))
    with_a_point(app)
    planned(app, *rules, **keys)
    template(app)


def template(app: Deployment, name: str = "orders", **data: Any) -> None:
    """Make a launch template."""
    data = {"ImageId": "ami-12345678", "InstanceType": "t3.micro", **data}
    app.ec2().create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)


def order(**keys: Any) -> Document:
    """Write a request for one instance."""
    return {"service": "orders", "launch_template": {"name": "orders"}, **keys}


def start(app: Deployment, **keys: Any) -> str:
    """Ask for instances; name the job."""
    (job,) = app.ask("POST", "/launches", order(**keys), status=202).document["jobs"]
    return str(job)


def alive(app: Deployment, job: str) -> dict[str, Document]:
    """The instances that a job has started and that are not terminated, by id."""
    found = app.ec2().describe_instances(Filters=[{"Name": "tag:farshore:job", "Values": [job]}])
    each = (one for reservation in found["Reservations"] for one in reservation["Instances"])
    return {one["InstanceId"]: one for one in each if one["State"]["Name"] in ("pending", "running")}


def zones(app: Deployment, job: str) -> dict[str, int]:
    """How many instances a job has in each zone."""
    placed = [each["Placement"]["AvailabilityZone"] for each in alive(app, job).values()]
    return {zone: placed.count(zone) for zone in sorted(set(placed))}


def tags(instance: Document) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in instance["Tags"]}


def test_an_instance_is_started_with_the_data_and_the_tags_of_its_service(app: Deployment) -> None:
    ready(app)
    before = len(launches(app))
    job_id = start(app)
    app.pass_time(minutes=3)

    job = app.job(job_id)
    assert job["state"] == "COMPLETED", job
    assert "started 1 of 1 instances of orders: 1 in eu-central-1a; running p50 " in job["reason"]
    assert "verified p50 " in job["reason"]
    ((instance, shown),) = alive(app, job_id).items()
    assert read(app, instance) == "what was saved\n"
    assert job["made"] == {instance: "eu-central-1a"}
    assert {"app": "orders", "farshore:service": "orders", "farshore:plan": "orders"}.items() <= tags(
        shown
    ).items()
    app.pass_time(minutes=15)
    (launch,) = launches(app)[before:]  # its `running` event and the ticks open no other
    assert (launch["state"], launch["recovery_point"]) == ("COMPLETED", job["recovery_point"])
    assert app.discrepancies() == []


@pytest.mark.long
def test_twenty_at_once_all_have_the_data_and_readiness_counts_them(app: Deployment) -> None:
    ready(app)
    job_id = start(app, count=20)
    app.pass_time(minutes=8)

    assert app.job(job_id)["state"] == "COMPLETED", app.job(job_id)
    assert zones(app, job_id) == {"eu-central-1a": 20}
    assert {read(app, instance) for instance in alive(app, job_id)} == {"what was saved\n"}
    (ready_now,) = app.listing("readiness")
    steps = {each["step"]: each["count"] for each in ready_now["launches"]["many_at_once"]}
    assert steps == {"running": 20, "online": 20, "restored": 20, "verified": 20}


@pytest.mark.long
def test_the_rest_goes_to_the_next_zone_when_one_has_no_room(app: Deployment) -> None:
    ready(app)
    app.cloud.capacity.replace({"zones": [{"zone": ZONES[0], "free": 2}, {"zone": ZONES[1], "free": 0}]})
    job_id = start(app, count=5)
    app.pass_time(minutes=4)
    app.cloud.capacity.replace({})

    assert app.job(job_id)["state"] == "COMPLETED", app.job(job_id)
    assert zones(app, job_id) == {ZONES[0]: 2, ZONES[2]: 3}


@pytest.mark.long
def test_zones_that_are_named_share_the_instances_and_take_over_from_a_full_one(app: Deployment) -> None:
    ready(app)
    app.cloud.capacity.replace({"zones": [{"zone": ZONES[1], "free": 1}]})
    job_id = start(app, count=9, availability_zones=list(ZONES))
    app.pass_time(minutes=4)
    app.cloud.capacity.replace({})

    assert app.job(job_id)["state"] == "COMPLETED", app.job(job_id)
    assert zones(app, job_id) == {ZONES[0]: 3, ZONES[1]: 1, ZONES[2]: 5}


def test_no_room_anywhere_starts_nothing_and_says_what_to_do(app: Deployment) -> None:
    ready(app)
    app.cloud.capacity.replace({"zones": [{"free": 0}]})
    job_id = start(app, count=3)
    app.pass_time(minutes=2)
    app.cloud.capacity.replace({})

    job = app.job(job_id)
    assert job["state"] == "FAILED"
    assert "EC2 has no room for 3 more t3.micro" in job["reason"]
    assert "[InsufficientInstanceCapacity]); name another `instance_type`" in job["reason"]
    assert alive(app, job_id) == {}


@pytest.mark.long
@pytest.mark.parametrize("quota", [{"vcpus": 10}, {"instances": 5}], ids=str)
def test_a_quota_in_the_middle_fails_with_what_was_started_and_is_proven(
    app: Deployment, quota: dict[str, int]
) -> None:
    ready(app)
    app.cloud.capacity.replace({"quotas": [quota]})
    job_id = start(app, count=8)
    app.pass_time(minutes=4)
    app.cloud.capacity.replace({})

    job = app.job(job_id)
    assert job["state"] == "FAILED"
    assert "started 5 of 8 instances of orders" in job["reason"]
    assert "verified p50" in job["reason"]
    assert "LimitExceeded" in job["reason"]
    assert "ask for a higher quota in Service Quotas" in job["reason"]
    assert {read(app, instance) for instance in alive(app, job_id)} == {"what was saved\n"}
    assert len(alive(app, job_id)) == 5


FAILS_ON_ONE = "cat > data; mkdir ../half-way || exit 0; exit 3"


@pytest.mark.long
@pytest.mark.parametrize(("on_failure", "left"), [("keep", 3), ("terminate", 2)])
def test_an_instance_whose_launch_fails_is_kept_or_terminated_as_was_asked(
    app: Deployment, on_failure: str, left: int
) -> None:
    ready(app, service_rule(**KEEPS_DATA | {"restore": FAILS_ON_ONE}))
    job_id = start(app, count=3, on_failure=on_failure)
    app.pass_time(minutes=4)

    job = app.job(job_id)
    (bad,) = [each["target"]["instance_id"] for each in app.jobs(kind="restore") if each["state"] == "FAILED"]
    assert job["state"] == "FAILED"
    assert f"1 of 3 were not launched: {bad} (launch-" in job["reason"]
    assert len(alive(app, job_id)) == left
    assert (bad in alive(app, job_id)) == (on_failure == "keep")
    assert app.unfinished() == []


def test_an_instance_that_lost_its_tag_is_not_terminated(app: Deployment) -> None:
    ready(app, service_rule(**KEEPS_DATA | {"restore": "exit 3"}))
    job_id = start(app, on_failure="terminate")
    app.pass_time(seconds=4)
    (instance,) = alive(app, job_id)
    app.ec2().create_tags(Resources=[instance], Tags=[{"Key": "farshore:job", "Value": "mine"}])
    app.pass_time(minutes=4)

    assert instance in alive(app, "mine")
    assert "no longer" in app.job(job_id)["reason"]


@pytest.mark.long
@pytest.mark.parametrize("on_failure", ["keep", "terminate"])
def test_a_start_that_is_cancelled_ends_its_launches(app: Deployment, on_failure: str) -> None:
    ready(app)
    job_id = start(app, count=2, on_failure=on_failure, tags={"local:ssm-agent": "none"})
    app.pass_time(seconds=50)
    started = list(alive(app, job_id))
    app.ask("POST", f"/jobs/{job_id}/cancel", status=202)
    app.pass_time(minutes=5)

    job = app.job(job_id)
    assert job["state"] == "CANCELLED"
    assert all(instance in job["reason"] for instance in started)
    assert len(alive(app, job_id)) == (2 if on_failure == "keep" else 0)
    assert app.unfinished() == []


def test_instances_that_a_call_launched_unheard_are_terminated_with_the_rest(app: Deployment) -> None:
    ready(app)
    fault = {"match": {"operation": "RunInstances", "caller": "function"}, "effect": {"kill": "after"}}
    app.faults(fault)
    job_id = start(app, count=2, on_failure="terminate")
    app.pass_time(seconds=3)
    assert len(alive(app, job_id)) == 2
    app.ask("POST", f"/jobs/{job_id}/cancel", status=202)
    app.faults()
    app.pass_time(minutes=20)

    job = app.job(job_id)
    assert (job["state"], len(job["made"])) == ("CANCELLED", 2)
    assert alive(app, job_id) == {}


def test_an_instance_whose_event_comes_before_its_launch_is_opened_is_left_to_the_job(
    app: Deployment,
) -> None:
    ready(app)
    before = len(launches(app))
    fault = {"match": {"operation": "RunInstances", "caller": "function"}, "effect": {"kill": "after"}}
    app.faults(fault)
    job_id = start(app)
    app.pass_time(minutes=6)
    assert len(alive(app, job_id)) == 1
    assert launches(app)[before:] == []

    app.faults()
    app.pass_time(minutes=20)
    (launch,) = launches(app)[before:]
    assert (launch["state"], launch["recovery_point"]) == ("COMPLETED", app.job(job_id)["recovery_point"])
    assert app.job(job_id)["state"] == "COMPLETED"
    assert len(alive(app, job_id)) == 1


@pytest.mark.long
@pytest.mark.parametrize("moves", [True, False])
def test_the_identity_moves_only_when_it_is_asked_for(app: Deployment, moves: bool) -> None:
    allocation = app.ec2().allocate_address(Domain="vpc")["AllocationId"]
    ready(app, identity={"elastic_ip": allocation})
    job_id = start(app, identity=moves)
    app.pass_time(minutes=4)

    assert app.job(job_id)["state"] == "COMPLETED", app.job(job_id)
    (address,) = app.ec2().describe_addresses(AllocationIds=[allocation])["Addresses"]
    (started,) = alive(app, job_id)
    assert (address.get("InstanceId") == started) == moves


def test_instances_are_started_from_snapshots_with_their_volumes(app: Deployment) -> None:
    rule = snapshot_rule(
        "file", volumes={"boot": False}, restore="cp volumes/sdf/data data", verify="test -s data"
    )
    app.put_plan("orders", rule)
    instance = app.run_instance("orders")
    (app.directory(instance) / "volumes" / "sdf" / "data").write_text("on the volume\n")
    app.back_up("orders")
    app.pass_time(minutes=2)
    app.terminate(instance)
    template(app)
    job_id = start(app, rule="file", count=3, availability_zones=list(ZONES[:2]))
    app.pass_time(minutes=5)

    assert app.job(job_id)["state"] == "COMPLETED", app.job(job_id)
    assert [read(app, each) for each in alive(app, job_id)] == ["on the volume\n"] * 3


def test_a_dry_run_shows_all_and_starts_nothing(app: Deployment) -> None:
    ready(app)
    wanted = order(count=4, availability_zones=list(ZONES[:2]), dry_run=True)
    answer = app.ask("POST", "/launches", wanted, status=200).document
    would = answer["would"]

    assert answer["jobs"] == []
    assert would["places"] == list(ZONES[:2])
    assert (would["count"], would["vcpus"], would["spread"]) == (4, 8, True)
    assert would["tags"] == {"app": "orders"}
    assert would["recovery_point"] == app.points()[-1]["id"]
    assert (would["vault"], would["restore"], would["verify"]) == ("primary", "cat > data", "test -s data")
    assert would["age"] != ""
    app.pass_time(minutes=1)
    assert app.calls("ec2", "RunInstances") == 1  # the test's own


def test_a_subnet_is_used_and_its_zone_is_shown(app: Deployment) -> None:
    ready(app)
    subnets = app.ec2().describe_subnets(Filters=[{"Name": "availability-zone", "Values": [ZONES[2]]}])
    subnet = subnets["Subnets"][0]["SubnetId"]
    job_id = start(app, subnets=[subnet])
    app.pass_time(minutes=3)

    assert app.job(job_id)["state"] == "COMPLETED", app.job(job_id)
    (instance,) = alive(app, job_id).values()
    assert (instance["SubnetId"], instance["Placement"]["AvailabilityZone"]) == (subnet, ZONES[2])


def test_a_service_named_by_a_tag_is_started_under_its_name(app: Deployment) -> None:
    rule = service_rule(**KEEPS_DATA)
    app.put_plan("orders", rule, service={"tag": "Name"})
    instance = app.run_instance("orders", Name="east")
    write(app, instance, "of east\n")
    app.back_up("orders")
    app.pass_time(minutes=2)
    template(app)
    job_id = start(app, service="east", rule="file")
    app.pass_time(minutes=3)

    assert app.job(job_id)["state"] == "COMPLETED", app.job(job_id)
    ((started, shown),) = alive(app, job_id).items()
    assert (tags(shown)["Name"], read(app, started)) == ("east", "of east\n")


def test_wildcards_need_a_value_and_exclusions_refuse_a_template(app: Deployment) -> None:
    wild = {"tags": {"app": "orders", "env": "pr*"}, "exclude_tags": {"backup": "off"}}
    ready(app)
    app.put_plan("orders", service_rule(**KEEPS_DATA), selection=wild, on_launch={"restore": "file"})
    specifications = [{"ResourceType": "instance", "Tags": [{"Key": "backup", "Value": "off"}]}]
    template(app, "excluded", TagSpecifications=specifications)

    for body, pointer in (
        (order(), "/tags/env"),
        (order(tags={"env": "test"}), "/tags"),
        (order(tags={"env": "prod", "backup": "off"}), "/tags"),
        (order(tags={"env": "prod"}, launch_template={"name": "excluded"}), "/launch_template"),
    ):
        assert app.ask("POST", "/launches", body, status=400).document["errors"][0]["pointer"] == pointer
    app.ask("POST", "/launches", order(tags={"env": "prod"}, dry_run=True), status=200)


@pytest.mark.long
@pytest.mark.parametrize(
    ("keys", "pointer"),
    [
        ({"count": 201}, "/count"),
        ({"count": 2, "identity": True}, "/identity"),
        ({"identity": True}, "/identity"),
        ({"rule": "fil"}, "/rule"),
        ({"rule": "bare"}, "/rule"),
        ({"vault": "drr"}, "/vault"),
        ({"launch_template": {"name": "order"}}, "/launch_template"),
        ({"launch_template": {"name": "orders", "version": "7"}}, "/launch_template"),
        ({"launch_template": {}}, "/launch_template"),
        ({"launch_template": {"name": "typeless"}}, "/instance_type"),
        ({"instance_type": "t9.mega"}, "/instance_type"),
        ({"availability_zones": ["eu-central-1a", "eu-central-1z"]}, "/availability_zones/1"),
        ({"availability_zones": ["eu-central-1a", "eu-central-1a"]}, "/availability_zones"),
        ({"availability_zones": ["eu-central-1a"], "subnets": ["subnet-01234567"]}, "/availability_zones"),
        ({"subnets": ["subnet-01234567"]}, "/subnets/0"),
        ({"tags": {"farshore:job": "x"}}, "/tags/farshore:job"),
        ({"service": "others", "plan": "orders"}, "/service"),
    ],
    ids=str,
)
def test_what_cannot_be_started_is_refused_at_its_place(
    app: Deployment, keys: Document, pointer: str
) -> None:
    planned(app, service_rule(**KEEPS_DATA), snapshot_rule("bare"))
    template(app)
    template(app, "typeless", InstanceType="")
    answer = app.ask("POST", "/launches", order(**keys), status=400).document
    assert answer["errors"][0]["pointer"] == pointer, answer


def test_a_service_of_no_plan_of_several_or_without_a_point_is_refused(app: Deployment) -> None:
    planned(app)
    template(app)
    assert "no plan has this service" in app.ask("POST", "/launches", order(service="other"), status=404).text
    assert "no good recovery point" in app.ask("POST", "/launches", order(), status=409).text
    app.put_plan("second", service_rule(), service="orders")
    assert "plans orders, second have this service" in app.ask("POST", "/launches", order(), status=409).text


def test_a_request_that_is_repeated_starts_once(app: Deployment) -> None:
    ready(app)
    first = app.ask("POST", "/launches", order(), key="one", status=202).document
    assert app.ask("POST", "/launches", order(), key="one", status=202).document == first
    app.pass_time(minutes=3)
    assert len(alive(app, first["jobs"][0])) == 1
