"""What EBS lets a volume of each type have: its size, its IOPS, its throughput. Pure.

Sizes and absolute bounds: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateVolume.html; IOPS
for each GiB, throughput for each IOPS, and gp2's baseline:
https://docs.aws.amazon.com/ebs/latest/userguide/general-purpose.html, provisioned-iops.html. EBS documents no
error for values out of bounds: they are `InvalidParameterValue` here, and parameters that a type does not
take, or lacks, are `InvalidParameterCombination` and `MissingParameter`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local_cloud.call import AwsError

GP3_IOPS, GP3_THROUGHPUT = 3000, 125
GP3_IOPS_PER_THROUGHPUT = 4


@dataclass(frozen=True, slots=True)
class Span:
    """The least and the most, both included."""

    least: int
    most: int

    def check(self, what: str, value: int) -> None:
        """Refuse a value outside."""
        if value < self.least:
            raise AwsError("InvalidParameterValue", f"Volume {what} is too small; minimum is {self.least}.")
        if value > self.most:
            raise AwsError("InvalidParameterValue", f"Volume {what} is too large; maximum is {self.most}.")


@dataclass(frozen=True, slots=True)
class VolumeType:
    """A type's sizes in GiB, and the IOPS that can be requested, if any, in total and per GiB."""

    sizes: Span
    iops: Span | None = None
    iops_per_gib: int = 0
    throughput: Span | None = None
    shared: bool = False


VOLUME_TYPES: Mapping[str, VolumeType] = {
    "gp2": VolumeType(Span(1, 16_384)),
    "gp3": VolumeType(Span(1, 65_536), Span(3000, 80_000), 500, Span(125, 2000)),
    "io1": VolumeType(Span(4, 16_384), Span(100, 64_000), 50, shared=True),
    "io2": VolumeType(Span(4, 65_536), Span(100, 256_000), 1000, shared=True),
    "st1": VolumeType(Span(125, 16_384)),
    "sc1": VolumeType(Span(125, 16_384)),
    "standard": VolumeType(Span(1, 1024)),
}


def check_type(wanted: Mapping[str, Any]) -> None:
    """Refuse a type of volume that there is not."""
    kind = wanted.get("VolumeType")
    if kind and kind not in VOLUME_TYPES:
        raise AwsError("UnknownVolumeType", f"Unsupported volume type '{kind}' for volume creation.")


def performance(wanted: Mapping[str, Any], size: int) -> dict[str, int | None]:
    """Return the IOPS and throughput of a volume of `size` GiB, as DescribeVolumes shows them.

    Raises:
        AwsError: the type does not allow this.
    """
    name = wanted.get("VolumeType") or "gp2"
    kind = VOLUME_TYPES[name]
    kind.sizes.check(f"of {size}GiB", size)
    _check_parameters(name, kind, wanted)
    if kind.iops is None:
        return {"iops": min(16_000, max(100, 3 * size)) if name == "gp2" else None, "throughput": None}
    iops = wanted.get("Iops") or GP3_IOPS
    kind.iops.check(f"iops of {iops}", iops)
    if iops > max(kind.iops_per_gib * size, GP3_IOPS if name == "gp3" else 0):
        raise AwsError(
            "InvalidParameterValue",
            f"Iops to volume size ratio of {iops / size:.1f} is too high; maximum is {kind.iops_per_gib}.",
        )
    return {"iops": iops, "throughput": _throughput(kind.throughput, wanted, iops)}


def _check_parameters(name: str, kind: VolumeType, wanted: Mapping[str, Any]) -> None:
    """Refuse parameters that the type does not take, or lacks."""
    for parameter, value, taken in (
        ("iops", wanted.get("Iops"), kind.iops),
        ("throughput", wanted.get("Throughput"), kind.throughput),
        ("multiAttachEnabled", wanted.get("MultiAttachEnabled"), kind.shared),
    ):
        if value and not taken:
            why = f"The parameter {parameter} is not supported for {name} volumes."
            raise AwsError("InvalidParameterCombination", why)
    if kind.iops and wanted.get("Iops") is None and name != "gp3":
        raise AwsError("MissingParameter", f"The parameter iops must be specified for {name} volumes.")


def _throughput(span: Span | None, wanted: Mapping[str, Any], iops: int) -> int | None:
    if span is None:
        return None
    throughput: int = wanted.get("Throughput") or GP3_THROUGHPUT
    span.check(f"throughput of {throughput}MiB/s", throughput)
    if throughput * GP3_IOPS_PER_THROUGHPUT > iops:
        raise AwsError(
            "InvalidParameterValue",
            f"Throughput (MiBps) to iops ratio of {throughput / iops:.6f} is too high; maximum is 0.250000 "
            "MiBps per iops.",
        )
    return throughput
