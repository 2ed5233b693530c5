"""Instances: launched by any client, seen, stopped, terminated."""

from datetime import datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.core.base_backend import BackendDict

from ec2_bench import HOME, Bench


def code(failure: pytest.ExceptionInfo[ClientError]) -> str:
    return str(failure.value.response["Error"]["Code"])


def test_instance_has_a_directory_as_soon_as_it_is_launched(bench: Bench) -> None:
    answer = bench.client().run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1)
    instance_id = answer["Instances"][0]["InstanceId"]
    assert answer["Instances"][0]["State"]["Name"] == "pending"
    assert bench.ec2.directories() == {instance_id: bench.ec2.directory(instance_id)}
    assert bench.ec2.directory(instance_id).is_dir()


def test_instance_runs_after_a_while_and_both_states_are_told(bench: Bench) -> None:
    seen: list[tuple[str, str]] = []
    bench.ec2.on_running.append(lambda region, instance_id: seen.append((region, instance_id)))
    instance_id = bench.launch()
    assert seen == [(HOME, instance_id)]
    states = [event["detail"] for _, event in bench.events("EC2 Instance State-change Notification")]
    assert states == [
        {"instance-id": instance_id, "state": "pending"},
        {"instance-id": instance_id, "state": "running"},
    ]
    assert bench.ec2.instance_state("123456789012", HOME, instance_id) == "running"
    assert bench.ec2.instance_state("123456789012", "eu-west-1", instance_id) is None


def test_data_volumes_of_a_launch_appear_in_the_directory(bench: Bench) -> None:
    instance_id = bench.launch(data=2)
    assert sorted(bench.volumes(instance_id)) == ["/dev/sda1", "/dev/sdf", "/dev/sdg"]
    place = bench.ec2.directory(instance_id) / "volumes"
    assert sorted(folder.name for folder in place.iterdir()) == ["sdf", "sdg"]


def test_same_client_token_launches_once_and_another_token_again(bench: Bench) -> None:
    ec2 = bench.client()
    ids = [
        ec2.run_instances(ImageId="ami-1", MinCount=2, MaxCount=2, ClientToken=token)["Instances"][0][
            "InstanceId"
        ]
        for token in ("one", "one", "two")
    ]
    assert ids[0] == ids[1] != ids[2]
    assert len(bench.ec2.directories()) == 4


def test_client_token_with_other_parameters_is_refused(bench: Bench) -> None:
    ec2 = bench.client()
    ec2.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1, ClientToken="one")
    with pytest.raises(ClientError) as failure:
        ec2.run_instances(ImageId="ami-1", MinCount=2, MaxCount=2, ClientToken="one")
    assert code(failure) == "IdempotentParameterMismatch"


def tagged(kind: str, **tags: str) -> dict[str, Any]:
    return {"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


def test_launch_template_gives_what_the_request_does_not(bench: Bench) -> None:
    ec2 = bench.client()
    template = ec2.create_launch_template(
        LaunchTemplateName="web",
        LaunchTemplateData={
            "ImageId": "ami-1",
            "InstanceType": "t3.micro",
            "Placement": {"AvailabilityZone": "eu-central-1b"},
            "DisableApiTermination": True,
            "UserData": "ZWNobyBoaQ==",
            "BlockDeviceMappings": [
                {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 3, "DeleteOnTermination": True}}
            ],
            "TagSpecifications": [
                tagged("instance", app="web", own="template"),
                tagged("volume", disk="yes"),
            ],
        },
    )["LaunchTemplate"]
    (one,) = ec2.run_instances(
        LaunchTemplate={"LaunchTemplateName": "web", "Version": "$Latest"},
        MinCount=1,
        MaxCount=1,
        InstanceType="t3.large",
        BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 5}}],
        TagSpecifications=[tagged("instance", own="request")],
    )["Instances"]
    bench.wait()
    assert (one["InstanceType"], one["Placement"]["AvailabilityZone"]) == ("t3.large", "eu-central-1b")
    assert {tag["Key"]: tag["Value"] for tag in one["Tags"]} == {
        "app": "web",
        "own": "request",
        "aws:ec2launchtemplate:id": template["LaunchTemplateId"],
        "aws:ec2launchtemplate:version": "1",
    }
    (disk,) = ec2.describe_volumes(Filters=[{"Name": "size", "Values": ["5"]}])["Volumes"]
    assert disk["Tags"] == [{"Key": "disk", "Value": "yes"}]
    assert disk["Attachments"][0]["DeleteOnTermination"] is True
    said = ec2.describe_instance_attribute(InstanceId=one["InstanceId"], Attribute="userData")
    assert said["UserData"]["Value"] == "ZWNobyBoaQ=="
    with pytest.raises(ClientError) as failure:
        ec2.terminate_instances(InstanceIds=[one["InstanceId"]])
    assert code(failure) == "OperationNotPermitted"


def test_launch_template_is_taken_in_the_version_that_is_named(bench: Bench) -> None:
    ec2 = bench.client()
    ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData={"ImageId": "ami-1"})
    ec2.create_launch_template_version(LaunchTemplateName="web", LaunchTemplateData={"ImageId": "ami-2"})
    versions = ec2.describe_launch_template_versions(LaunchTemplateName="web")["LaunchTemplateVersions"]
    assert [each["LaunchTemplateData"]["ImageId"] for each in versions] == ["ami-1", "ami-2"]

    def image(**version: str) -> str:
        named = {"LaunchTemplateName": "web", **version}
        answer = ec2.run_instances(LaunchTemplate=named, MinCount=1, MaxCount=1)
        return str(answer["Instances"][0]["ImageId"])

    assert (image(), image(Version="$Default"), image(Version="1")) == ("ami-1", "ami-1", "ami-1")
    assert (image(Version="$Latest"), image(Version="2")) == ("ami-2", "ami-2")
    ec2.modify_launch_template(LaunchTemplateName="web", DefaultVersion="2")
    assert image() == "ami-2"


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ({"LaunchTemplateName": "none"}, "InvalidLaunchTemplateName.NotFoundException"),
        ({"LaunchTemplateId": "lt-0123456789abcdef0"}, "InvalidLaunchTemplateId.NotFound"),
        ({"LaunchTemplateName": "web", "Version": "3"}, "InvalidLaunchTemplateId.VersionNotFound"),
        ({"LaunchTemplateName": "web", "Version": "0"}, "InvalidLaunchTemplateId.VersionNotFound"),
        ({"LaunchTemplateName": "web", "LaunchTemplateId": "lt-1"}, "InvalidParameterCombination"),
        ({"Version": "1"}, "MissingParameter"),
    ],
)
def test_launch_template_that_does_not_exist_is_refused(
    bench: Bench, named: dict[str, str], expected: str
) -> None:
    ec2 = bench.client()
    ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData={"ImageId": "ami-1"})
    with pytest.raises(ClientError) as failure:
        ec2.run_instances(LaunchTemplate=named, MinCount=1, MaxCount=1)
    assert code(failure) == expected
    assert ec2.describe_instances()["Reservations"] == []


def test_launch_makes_as_many_as_max_count(bench: Bench) -> None:
    answer = bench.client().run_instances(ImageId="ami-1", MinCount=1, MaxCount=3)
    assert len(answer["Instances"]) == 3


def test_terminated_instance_takes_its_directory_and_volumes_along(bench: Bench) -> None:
    ec2 = bench.client()
    gone: list[str] = []
    bench.ec2.on_gone.append(lambda _, instance_id: gone.append(instance_id))
    instance_id = bench.launch(data=1)
    data = bench.volumes(instance_id)["/dev/sdf"]
    (bench.ec2.directory(instance_id) / "volumes" / "sdf" / "rows").write_bytes(b"kept")
    changing = ec2.terminate_instances(InstanceIds=[instance_id])["TerminatingInstances"][0]
    assert changing["CurrentState"]["Name"] == "shutting-down"
    assert changing["PreviousState"]["Name"] == "running"
    assert gone == [instance_id]
    bench.wait()
    assert bench.ec2.directories() == {}
    assert not bench.ec2.directory(instance_id).exists()
    (left,) = ec2.describe_volumes()["Volumes"]
    assert (left["VolumeId"], left["State"]) == (data, "available")
    assert (bench.ec2.volume_directory(data) / "rows").read_bytes() == b"kept"


def test_terminated_instance_is_seen_for_an_hour(bench: Bench) -> None:
    ec2 = bench.client()
    instance_id = bench.launch()
    ec2.terminate_instances(InstanceIds=[instance_id])
    bench.wait(600)
    (reservation,) = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
    assert reservation["Instances"][0]["State"]["Name"] == "terminated"
    bench.wait(3600)
    with pytest.raises(ClientError) as failure:
        ec2.describe_instances(InstanceIds=[instance_id])
    assert code(failure) == "InvalidInstanceID.NotFound"


def launched_at(bench: Bench, instance_id: str) -> datetime:
    found = bench.client().describe_instances(InstanceIds=[instance_id])["Reservations"]
    moment: datetime = found[0]["Instances"][0]["LaunchTime"]
    return moment


def test_stopped_instance_keeps_its_directory_and_starts_again(bench: Bench) -> None:
    ec2 = bench.client()
    instance_id = bench.launch()
    (bench.ec2.directory(instance_id) / "note").write_text("here")
    ec2.stop_instances(InstanceIds=[instance_id])
    assert bench.ec2.instance_state("123456789012", HOME, instance_id) == "stopping"
    bench.wait()
    assert bench.ec2.instance_state("123456789012", HOME, instance_id) == "stopped"
    first = launched_at(bench, instance_id)
    started_at = bench.clock.now().replace(microsecond=0)
    ec2.start_instances(InstanceIds=[instance_id])
    bench.wait()
    assert bench.ec2.instance_state("123456789012", HOME, instance_id) == "running"
    assert first < launched_at(bench, instance_id) == started_at
    assert (bench.ec2.directory(instance_id) / "note").read_text() == "here"


def test_instance_terminated_while_pending_never_runs(bench: Bench) -> None:
    ec2 = bench.client()
    answer = ec2.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1)
    ec2.terminate_instances(InstanceIds=[answer["Instances"][0]["InstanceId"]])
    bench.wait()
    states = [event["detail"]["state"] for _, event in bench.events("EC2 Instance State-change Notification")]
    assert states == ["pending", "shutting-down", "terminated"]


def test_filters_know_wildcards_tags_and_states(bench: Bench) -> None:
    ec2 = bench.client()
    ids = {
        name: bench.launch(
            TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "app", "Value": name}]}]
        )
        for name in ("orders-a", "orders-b", "Orders-c", "or*ers")
    }
    ec2.stop_instances(InstanceIds=[ids["orders-b"]])

    def found(*filters: tuple[str, list[str]]) -> set[str]:
        wanted = [{"Name": name, "Values": values} for name, values in filters]
        pages = ec2.get_paginator("describe_instances").paginate(Filters=wanted)
        return {
            tag["Value"]
            for page in pages
            for reservation in page["Reservations"]
            for instance in reservation["Instances"]
            for tag in instance["Tags"]
        }

    assert found(("tag:app", ["orders-?"])) == {"orders-a", "orders-b"}
    assert found(("tag:app", ["*rders*"])) == {"orders-a", "orders-b", "Orders-c"}
    assert found(("tag:app", ["or\\*ers"])) == {"or*ers"}
    assert found(("tag:app", ["orders-*"]), ("instance-state-name", ["running"])) == {"orders-a"}
    assert found(("tag-key", ["app"]), ("tag:app", ["Orders-c", "or\\*ers"])) == {"Orders-c", "or*ers"}
    assert found(("tag:other", ["*"])) == set()
    with pytest.raises(ClientError) as failure:
        found(("color", ["red"]))
    assert code(failure) == "InvalidParameterValue"


def test_pages_are_cut_before_they_are_filtered(bench: Bench) -> None:
    ec2 = bench.client()
    for number in range(12):
        ec2.run_instances(
            ImageId="ami-1",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "n", "Value": str(number)}]}],
        )
    pages = list(
        ec2.get_paginator("describe_instances").paginate(
            Filters=[{"Name": "tag:n", "Values": ["7"]}], PaginationConfig={"PageSize": 5}
        )
    )
    assert len(pages) == 3
    assert sum(len(page["Reservations"]) for page in pages) == 1


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"MaxResults": 4}, "InvalidParameterValue"),
        ({"InstanceIds": ["i-0123456789abcdef0"], "MaxResults": 5}, "InvalidInstanceID.NotFound"),
        ({"InstanceIds": ["nonsense"]}, "InvalidInstanceID.Malformed"),
        ({"NextToken": "nonsense"}, "InvalidPaginationToken"),
        ({"Filters": [{"Name": "tag:a", "Values": [str(n) for n in range(201)]}]}, "FilterLimitExceeded"),
        ({"DryRun": True}, "DryRunOperation"),
    ],
)
def test_bad_listings_are_refused(bench: Bench, params: dict[str, object], expected: str) -> None:
    with pytest.raises(ClientError) as failure:
        bench.client().describe_instances(**params)
    assert code(failure) == expected


def test_ids_and_page_size_cannot_be_combined(bench: Bench) -> None:
    with pytest.raises(ClientError) as failure:
        bench.client().describe_instances(InstanceIds=[bench.launch()], MaxResults=5)
    assert code(failure) == "InvalidParameterCombination"


@pytest.mark.parametrize(
    ("device", "ebs", "expected"),
    [
        ("/dev/sdg", {"SnapshotId": "snap-0123456789abcdef0"}, "InvalidSnapshot.NotFound"),
        ("/dev/sdg", {"DeleteOnTermination": True}, "MissingParameter"),
        ("/dev/sdg", {"VolumeSize": 1, "VolumeType": "gp9"}, "UnknownVolumeType"),
        ("/dev/../../sdg", {"VolumeSize": 1}, "InvalidParameterValue"),
    ],
)
def test_launch_that_is_refused_leaves_nothing_behind(
    bench: Bench, device: str, ebs: dict[str, object], expected: str
) -> None:
    ec2 = bench.client()
    with pytest.raises(ClientError) as failure:
        ec2.run_instances(
            ImageId="ami-1",
            MinCount=1,
            MaxCount=1,
            BlockDeviceMappings=[
                {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}},
                {"DeviceName": device, "Ebs": ebs},
            ],
        )
    assert code(failure) == expected
    assert ec2.describe_instances()["Reservations"] == []
    assert ec2.describe_volumes()["Volumes"] == []


def test_nothing_is_left_after_a_reset_and_all_works_again(bench: Bench) -> None:
    ec2 = bench.client()
    instance_id = bench.launch()
    ec2.create_snapshots(InstanceSpecification={"InstanceId": instance_id})
    bench.ec2.reset()
    bench.timeline.clear()
    BackendDict.reset()
    assert bench.ec2.directories() == {}
    assert [path for path in bench.ground.root.rglob("*") if path.is_file()] == []
    instance_id = bench.launch()
    (bench.ec2.directory(instance_id) / "volumes" / "sdf" / "rows").write_bytes(b"rows")
    ec2.create_snapshots(InstanceSpecification={"InstanceId": instance_id})
    bench.wait()
    assert {one["State"] for one in ec2.describe_snapshots()["Snapshots"]} == {"completed"}


def test_a_filter_of_ids_finds_them_on_the_first_page(bench: Bench) -> None:
    ec2 = bench.client()
    made = [bench.launch() for _ in range(7)]

    def found(*values: str) -> list[str]:
        wanted = [{"Name": "instance-id", "Values": values}]
        answer = ec2.describe_instances(Filters=wanted, MaxResults=5)
        return [each["InstanceId"] for group in answer["Reservations"] for each in group["Instances"]]

    assert len(found(*made)) == 5
    assert all(found(one) == [one] for one in made)
    ec2.terminate_instances(InstanceIds=made[:1])
    bench.wait(2 * 3600)
    assert found(made[0]) == []
    assert found(made[1]) == made[1:2]
