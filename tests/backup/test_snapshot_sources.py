"""Which volumes of which instance are taken by which call, and what the call's tags say. Pure."""

from chalicelib.aws.ec2 import AttachedVolume, Instance, Volume
from chalicelib.backup.snapshot_sources import ALONE, ATTACHED_MEANWHILE, Source, chosen, sources_of
from chalicelib.plans.selection import VolumeChoice

CHOICE = VolumeChoice(boot=False, exclude_tags={"scratch": ("*",)})


def _instance(name: str, *volumes: str) -> Instance:
    attached = tuple(
        AttachedVolume(volume, f"/dev/sd{volume}", boot=volume.startswith("root")) for volume in volumes
    )
    return Instance(name, "running", "eu-central-1a", {}, attached)


def _volumes(*instances: Instance) -> dict[str, Volume]:
    """Show the volumes of instances; what is named `x...` is scratch."""
    ids = {each.volume_id for instance in instances for each in instance.volumes}
    return {id: Volume(id, "in-use", "z", 8, "gp3", _tags(id), None, 3000, 125) for id in ids}


def _tags(volume_id: str) -> dict[str, str]:
    return {"scratch": "yes"} if volume_id.startswith("x") else {}


def _sources(*instances: Instance) -> tuple[Source, ...]:
    return sources_of(instances, _volumes(*instances), CHOICE)


def test_all_that_is_chosen_of_an_instance_is_taken_by_one_call() -> None:
    (source,) = _sources(_instance("i-1", "root", "a", "b", *(f"x{n}" for n in range(40))))
    (call,) = source.calls
    assert (call.operation, call.intent) == ("CreateSnapshots", "CreateSnapshots of i-1")
    assert [volume.id for volume in call.volumes] == ["a", "b"]
    assert (len(source.left_out), source.boot) == (40, False)
    assert [source.remark_on(volume) for volume in source.volumes] == ["", ""]


def test_what_leaves_out_more_than_one_call_can_is_taken_volume_by_volume_and_says_so() -> None:
    (source,) = _sources(_instance("i-1", "root", "a", "b", *(f"x{n}" for n in range(41))))
    assert [(call.operation, call.intent) for call in source.calls] == [
        ("CreateSnapshot", "CreateSnapshot of a of i-1"),
        ("CreateSnapshot", "CreateSnapshot of b of i-1"),
    ]
    assert [source.remark_on(volume) for volume in source.volumes] == [ALONE, ALONE]


def test_a_volume_taken_alone_because_it_is_the_only_one_needs_no_remark() -> None:
    (source,) = _sources(_instance("i-1", "a", *(f"x{n}" for n in range(41))))
    assert [call.operation for call in source.calls] == ["CreateSnapshot"]
    assert source.remark_on(source.volumes[0]) == ""


def test_a_volume_of_two_instances_is_taken_once_with_the_first() -> None:
    one, two = _instance("i-1", "shared", "a"), _instance("i-2", "shared", "b")
    first, second = _sources(one, two)
    assert [volume.id for volume in first.volumes] == ["shared", "a"]
    assert ([volume.id for volume in second.volumes], second.left_out) == (["b"], ("shared",))


def test_a_volume_that_came_meanwhile_says_so() -> None:
    instance = _instance("i-1", "a")
    came = chosen(instance.volumes[0], _volumes(instance)["a"], meanwhile=True)
    (source,) = _sources(instance)
    assert (came.device, came.type, came.iops, came.throughput) == ("/dev/sda", "gp3", 3000, 125)
    assert source.remark_on(came) == ATTACHED_MEANWHILE


def test_the_tags_of_a_call_tell_the_volume_or_list_all_of_them() -> None:
    (alone,) = _sources(_instance("i-1", "a"))
    assert alone.calls[0].tags == {
        "farshore:source-instance": "i-1",
        "farshore:source-volume": "a",
        "farshore:source-device": "/dev/sda",
    }
    (two,) = _sources(_instance("i-1", "a", "b"))
    assert two.calls[0].tags == {
        "farshore:source-instance": "i-1",
        "farshore:source-devices": "/dev/sda=a /dev/sdb=b",
    }


def test_the_tags_of_the_most_volumes_an_instance_can_have_fit_what_ec2_takes() -> None:
    ids = [f"vol-{number:017x}" for number in range(128)]
    (source,) = _sources(_instance("i-1", *ids))
    tags = source.calls[0].tags
    assert len(tags) <= 45
    assert all(len(value) <= 256 for value in tags.values())
    listed = [
        entry for key, value in tags.items() if key != "farshore:source-instance" for entry in value.split()
    ]
    assert len(listed) == len(set(listed)) > 64
    assert listed[:2] == [f"/dev/sd{id}={id}" for id in ids[:2]]
