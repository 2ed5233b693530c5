"""The sizes and performance that EBS allows for each type of volume. Pure.

Sizes and bounds: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateVolume.html; IOPS for each
GiB and throughput for each IOPS: https://docs.aws.amazon.com/ebs/latest/userguide/general-purpose.html,
https://docs.aws.amazon.com/ebs/latest/userguide/provisioned-iops.html
"""

from collections.abc import Mapping
from dataclasses import dataclass

DEFAULT_TYPE = "gp3"
GP3_IOPS, GP3_THROUGHPUT = 3000, 125
_GP3_IOPS_PER_THROUGHPUT = 4


@dataclass(frozen=True, slots=True)
class Span:
    """The least and the greatest allowed value, both included."""

    least: int
    most: int

    def __contains__(self, value: int) -> bool:
        return self.least <= value <= self.most

    def __str__(self) -> str:
        return f"{self.least:,} to {self.most:,}"

    def nearest(self, value: int) -> int:
        """Return the value, or the bound that it exceeds."""
        return min(max(value, self.least), self.most)


@dataclass(frozen=True, slots=True)
class VolumeType:
    """A type of volume; `default_iops` None means that IOPS must be given where they can be set."""

    name: str
    sizes_gib: Span
    all_iops: Span | None = None
    iops_per_gib: int = 0
    default_iops: int | None = None
    all_throughput: Span | None = None
    multi_attach: bool = False

    def iops(self, size_gib: int) -> Span | None:
        """Return the IOPS allowed for a volume of this size; None when they cannot be set."""
        if self.all_iops is None:
            return None
        most = max(self.all_iops.least, min(self.all_iops.most, self.iops_per_gib * size_gib))
        return Span(self.all_iops.least, most)

    def throughput(self, iops: int) -> Span | None:
        """Return the MiB/s allowed for a volume with these IOPS; None when they cannot be set."""
        if self.all_throughput is None:
            return None
        return Span(
            self.all_throughput.least, min(self.all_throughput.most, iops // _GP3_IOPS_PER_THROUGHPUT)
        )


VOLUME_TYPES: Mapping[str, VolumeType] = {
    each.name: each
    for each in (
        VolumeType("gp3", Span(1, 65_536), Span(GP3_IOPS, 80_000), 500, GP3_IOPS, Span(GP3_THROUGHPUT, 2000)),
        VolumeType("gp2", Span(1, 16_384)),
        VolumeType("io2", Span(4, 65_536), Span(100, 256_000), 1000, multi_attach=True),
        VolumeType("io1", Span(4, 16_384), Span(100, 64_000), 50, multi_attach=True),
        VolumeType("st1", Span(125, 16_384)),
        VolumeType("sc1", Span(125, 16_384)),
        VolumeType("standard", Span(1, 1024)),
    )
}
