"""What volume a restore makes of a snapshot, what of it differs from the record, and what EBS cannot make.
Pure."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.aws.ec2_types import VolumeSpec
from chalicelib.aws.volume_types import VOLUME_TYPES
from chalicelib.catalog.recovery_point import SnapshotRef
from chalicelib.jobs.volume_plan import Wanted, planned_volume, problems_of

GP3 = SnapshotRef("snap-1", "vol-1", 100, "i-1", "/dev/sdf", "gp3", 6000, 500)
GP2 = replace(GP3, type="gp2", iops=300, throughput=None)
IO2 = replace(GP3, type="io2", iops=60_000, throughput=None, multi_attach=True)
TYPES = "an EBS volume type: gp3, gp2, io2, io1, st1, sc1, standard"
ST1 = replace(GP3, type="st1", size_gib=200, iops=None, throughput=None)


@pytest.mark.parametrize(
    ("ref", "wanted", "spec", "differs"),
    [
        pytest.param(GP3, Wanted(), VolumeSpec(100, "gp3", 6000, 500), (), id="gp3 as it was"),
        pytest.param(GP2, Wanted(), VolumeSpec(100, "gp2"), (), id="gp2's IOPS come from its size"),
        pytest.param(IO2, Wanted(), VolumeSpec(100, "io2", 60_000, None, True), (), id="io2 as it was"),
        pytest.param(ST1, Wanted(), VolumeSpec(200, "st1"), (), id="st1 as it was"),
        pytest.param(
            GP3,
            Wanted(200, "gp3", 7000, 600),
            VolumeSpec(200, "gp3", 7000, 600),
            (
                "size is 200 instead of 100, as asked for",
                "iops is 7000 instead of 6000, as asked for",
                "throughput is 600 instead of 500, as asked for",
            ),
            id="all that is asked for",
        ),
        pytest.param(
            GP2,
            Wanted(type="gp3"),
            VolumeSpec(100, "gp3", 3000, 125),
            (
                "type is gp3 instead of gp2, as asked for",
                "iops is 3000 instead of 300, as gp3 takes no more and no less",
                "throughput is 125 instead of not set, as none was recorded; it is gp3's own",
            ),
            id="gp3 has at least so many IOPS",
        ),
        pytest.param(
            IO2,
            Wanted(type="gp3"),
            VolumeSpec(100, "gp3", 50_000, 125),
            (
                "type is gp3 instead of io2, as asked for",
                "iops is 50000 instead of 60000, as gp3 takes no more and no less",
                "throughput is 125 instead of not set, as none was recorded; it is gp3's own",
                "multi_attach is false instead of true, as gp3 has none to set",
            ),
            id="gp3 has so many IOPS for each GiB",
        ),
        pytest.param(
            ST1,
            Wanted(type="io1", iops=200),
            VolumeSpec(200, "io1", 200),
            (
                "type is io1 instead of st1, as asked for",
                "iops is 200 instead of not set, as asked for",
            ),
            id="io1 with the IOPS it needs",
        ),
        pytest.param(
            GP3,
            Wanted(type="gp2"),
            VolumeSpec(100, "gp2"),
            (
                "type is gp2 instead of gp3, as asked for",
                "iops is not set instead of 6000, as gp2 has none to set",
                "throughput is not set instead of 500, as gp2 has none to set",
            ),
            id="gp2 has no IOPS to set",
        ),
        pytest.param(
            replace(GP3, type="gp9", iops=9, throughput=9),
            Wanted(),
            VolumeSpec(100, "gp9"),
            (
                "iops is not set instead of 9, as gp9 is not known here and EBS decides",
                "throughput is not set instead of 9, as gp9 is not known here and EBS decides",
            ),
            id="a type of later is EBS's to judge",
        ),
        pytest.param(
            replace(GP3, type="gp9", iops=9, throughput=9),
            Wanted(iops=7, throughput=8),
            VolumeSpec(100, "gp9", 7, 8),
            ("iops is 7 instead of 9, as asked for", "throughput is 8 instead of 9, as asked for"),
            id="what is asked of a type of later is asked of EBS",
        ),
        pytest.param(
            SnapshotRef("snap-1", "vol-1", 4),
            Wanted(),
            VolumeSpec(4, "gp3", 3000, 125),
            ("type is gp3 instead of not set", "iops is 3000", "throughput is 125"),
            id="nothing was recorded",
        ),
    ],
)
def test_a_volume_is_made_as_it_was_recorded_and_says_what_differs(
    ref: SnapshotRef, wanted: Wanted, spec: VolumeSpec, differs: tuple[str, ...]
) -> None:
    planned = planned_volume(ref, wanted)
    assert planned.spec == spec
    assert len(planned.differs) == len(differs)
    assert all(said.startswith(expected) for said, expected in zip(planned.differs, differs, strict=True))


@pytest.mark.parametrize(
    ("ref", "wanted", "expected"),
    [
        (GP3, Wanted(size_gib=99), {"/target/size": "GiB, at least the snapshot's 100"}),
        (GP3, Wanted(type="sc1"), {"/target/type": "sc1 takes 125 to 16,384 GiB, and snap-1 of vol-1"}),
        (GP2, Wanted(size_gib=16_385), {"/target/size": "gp2 takes 1 to 16,384 GiB"}),
        (ST1, Wanted(type="io2"), {"/target/iops": "IOPS, which io2 needs and none are recorded"}),
        (
            GP3,
            Wanted(iops=2999, throughput=124),
            {"/target/iops": "gp3 takes 3,000 to 50,000", "/target/throughput": "gp3 takes 125 to 749"},
        ),
        (GP3, Wanted(iops=80_001), {"/target/iops": "gp3 takes 3,000 to 50,000 IOPS at 100 GiB"}),
        (IO2, Wanted(throughput=200), {"/target/throughput": "nothing: io2 has no throughput to set"}),
        (GP3, Wanted(type="floppy"), {"/target/type": "an EBS volume type: gp3, gp2, io2"}),
        (GP3, Wanted(type="gp1"), {"/target/type": f"{TYPES}; did you mean gp"}),
        (GP3, Wanted(type="GP3"), {"/target/type": f"{TYPES}; did you mean gp3?"}),
        (GP3, Wanted(type="st1", size_gib=125, iops=500), {"/target/iops": "nothing: st1 has no iops"}),
    ],
)
def test_what_cannot_be_made_as_asked_for_is_a_problem_that_names_the_bound(
    ref: SnapshotRef, wanted: Wanted, expected: dict[str, str]
) -> None:
    found = {problem.pointer: problem.expected for problem in problems_of([ref], wanted)}
    assert found.keys() == expected.keys()
    assert all(found[pointer].startswith(said) for pointer, said in expected.items())


def test_one_snapshot_that_does_not_fit_is_named_among_many() -> None:
    small = replace(GP3, id="snap-2", volume_id="vol-2", size_gib=10)
    (problem,) = problems_of([replace(GP3, size_gib=200), small, ST1], Wanted(type="st1"))
    assert problem.expected == "st1 takes 125 to 16,384 GiB, and snap-2 of vol-2 would have 10"


NAMES = st.sampled_from(sorted(VOLUME_TYPES))


@given(data=st.data(), recorded=NAMES, asked=st.none() | NAMES)
def test_whatever_is_planned_without_a_problem_ebs_takes(
    data: st.DataObject, recorded: str, asked: str | None
) -> None:
    """The plan never names what is out of bounds, whatever was recorded under an older EBS."""
    size = data.draw(st.integers(1, 70_000))
    number: Any = st.none() | st.integers(1, 300_000)
    ref = replace(GP3, type=recorded, size_gib=size, iops=data.draw(number), throughput=data.draw(number))
    wanted = Wanted(type=asked, iops=data.draw(number), throughput=data.draw(number))
    if problems_of([ref], wanted):
        return
    spec = planned_volume(ref, wanted).spec
    kind = VOLUME_TYPES[spec.type]
    iops = kind.iops(spec.size_gib)
    assert spec.size_gib in kind.sizes_gib
    assert spec.iops is None if iops is None else (spec.iops or 0) in iops
    throughput = kind.throughput(spec.iops or 0)
    assert spec.throughput is None if throughput is None else (spec.throughput or 0) in throughput
