"""Which volumes of a point an instance gets. Pure."""

import pytest

from chalicelib.aws.ec2 import AttachedVolume, Instance
from chalicelib.catalog.recovery_point import SnapshotRef
from chalicelib.recovery.data_volumes import data_volumes, taken_device, why_not_of_one


def _ref(device: str, instance: str = "i-0") -> SnapshotRef:
    return SnapshotRef(f"snap-{device}", "vol-1", 1, instance, device)


def _instance(*devices: str, root: str = "/dev/sda1") -> Instance:
    volumes = [AttachedVolume(f"vol-{device}", device, boot=device == root) for device in (root, *devices)]
    return Instance("i-1", "running", "eu-central-1a", {}, tuple(volumes))


@pytest.mark.parametrize("root", ["/dev/sda1", "/dev/xvda", "/dev/sda"])
def test_boot_volumes_are_left_out_by_the_names_that_are_reserved_for_them(root: str) -> None:
    refs = [_ref("/dev/sdg"), _ref(root), _ref("/dev/sdf")]
    assert [ref.device for ref in data_volumes(refs, None)] == ["/dev/sdf", "/dev/sdg"]


def test_what_would_be_the_instances_own_boot_volume_is_left_out() -> None:
    refs = [_ref("/dev/xvdb"), _ref("/dev/sdf")]
    assert [ref.device for ref in data_volumes(refs, _instance(root="/dev/xvdb"))] == ["/dev/sdf"]


@pytest.mark.parametrize(
    ("wanted", "there", "taken"),
    [
        ("/dev/sdf", "/dev/sdf", True),
        ("/dev/sdf", "/dev/xvdf", True),
        ("/dev/xvdf", "sdf", True),
        ("/dev/sdf", "/dev/sdg", False),
        ("/dev/sdba", "/dev/sda", False),
        ("/dev/sdf1", "/dev/sdf", False),
    ],
)
def test_a_device_has_two_names(wanted: str, there: str, taken: bool) -> None:
    found = taken_device([_ref(wanted)], _instance(there))
    assert (found is not None) is taken
    assert taken_device([_ref(wanted)], _instance(there), [f"vol-{there}"]) is None


def test_the_first_instances_of_many_are_named() -> None:
    why = why_not_of_one([_ref("/dev/sdf", f"i-{number}") for number in range(7)])
    assert why is not None
    assert "of 7 instances (i-0, i-1, i-2 and 4 more)" in why
    assert why_not_of_one([_ref("/dev/sdf"), _ref("/dev/sdg")]) is None
