"""Plans the volume that a restore makes of a snapshot. Pure.

It is as it was recorded, unless the request differs or EBS cannot make it so. Invariant: every difference
from the record is reported with its reason; a request that cannot be met is a problem, never changed
silently.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from chalicelib.aws.ec2_types import VolumeSpec
from chalicelib.aws.volume_types import DEFAULT_TYPE, GP3_THROUGHPUT, VOLUME_TYPES, Span, VolumeType
from chalicelib.catalog.recovery_point import SnapshotRef
from chalicelib.errors import Problem
from chalicelib.jobs.work import VolumeRestoreWork
from chalicelib.plans.words import near


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is requested for all volumes of a restore (GiB, MiB/s); None: as recorded for each."""

    size_gib: int | None = None
    type: str | None = None
    iops: int | None = None
    throughput: int | None = None


@dataclass(frozen=True, slots=True)
class PlannedVolume:
    """A volume to make of a snapshot, and how it differs from the one recorded."""

    ref: SnapshotRef
    spec: VolumeSpec
    differs: tuple[str, ...]


def wanted_by(work: VolumeRestoreWork) -> Wanted:
    """Return what a restore requests."""
    return Wanted(work.size_gib, work.type, work.iops, work.throughput)


def planned_volume(ref: SnapshotRef, wanted: Wanted) -> PlannedVolume:
    """Return the volume to make of a snapshot.

    For a volume type that we do not know, EBS decides: no performance is set but what is requested.
    """
    size = wanted.size_gib or ref.size_gib
    name = wanted.type or ref.type or DEFAULT_TYPE
    kind = VOLUME_TYPES.get(name)
    if kind is None:
        spec = VolumeSpec(size, name, wanted.iops, wanted.throughput)
    else:
        iops = _iops(kind, ref, wanted, size)
        spec = VolumeSpec(
            size,
            name,
            iops,
            _throughput(kind, ref, wanted, iops),
            ref.multi_attach and kind.multi_attach,
        )
    return PlannedVolume(ref, spec, tuple(_differences(ref, spec, wanted, kind)))


def problems_of(refs: Iterable[SnapshotRef], wanted: Wanted) -> list[Problem]:
    """Return what EBS cannot make as requested: for each key of the target the first fault."""
    if wanted.type is not None and wanted.type not in VOLUME_TYPES:
        expected = f"an EBS volume type: {', '.join(VOLUME_TYPES)}{near(wanted.type, VOLUME_TYPES)}"
        return [Problem("/target/type", wanted.type, expected)]
    found: dict[str, Problem] = {}
    for ref in refs:
        for problem in _problems(ref, wanted):
            found.setdefault(problem.pointer, problem)
    return list(found.values())


def _problems(ref: SnapshotRef, wanted: Wanted) -> Iterator[Problem]:
    size, name = wanted.size_gib or ref.size_gib, wanted.type or ref.type or DEFAULT_TYPE
    of = f"{ref.id} of {ref.volume_id}"
    if size < ref.size_gib:
        yield Problem("/target/size", size, f"GiB, at least the snapshot's {ref.size_gib}")
        return
    kind = VOLUME_TYPES.get(name)
    if kind is None:
        return
    if size not in kind.sizes_gib:
        pointer, value = ("/target/size", size) if wanted.size_gib else ("/target/type", name)
        yield Problem(pointer, value, f"{name} takes {kind.sizes_gib} GiB, and {of} would have {size:,}")
        return
    iops = kind.iops(size)
    yield from _out_of(iops, "iops", wanted.iops, f"IOPS at {size:,} GiB", name, of)
    if iops and kind.default_iops is None and wanted.iops is None and ref.iops is None:
        yield Problem("/target/iops", None, f"IOPS, which {name} needs and none are recorded of {of}: {iops}")
    planned = _iops(kind, ref, wanted, size) or 0
    throughput = kind.throughput(planned)
    yield from _out_of(throughput, "throughput", wanted.throughput, f"MiB/s at {planned:,} IOPS", name, of)


def _out_of(
    span: Span | None, key: str, value: int | None, what: str, type: str, of: str
) -> Iterator[Problem]:
    if value is None:
        return
    if span is None:
        yield Problem(f"/target/{key}", value, f"nothing: {type} has no {key} to set")
    elif value not in span:
        yield Problem(f"/target/{key}", value, f"{type} takes {span} {what}, as {of} would have")


def _iops(kind: VolumeType, ref: SnapshotRef, wanted: Wanted, size: int) -> int | None:
    span = kind.iops(size)
    if span is None or wanted.iops is not None:
        return wanted.iops
    recorded = ref.iops if ref.iops is not None else kind.default_iops
    return None if recorded is None else span.nearest(recorded)


def _throughput(kind: VolumeType, ref: SnapshotRef, wanted: Wanted, iops: int | None) -> int | None:
    span = kind.throughput(iops or 0)
    if span is None or wanted.throughput is not None:
        return wanted.throughput
    return span.nearest(ref.throughput or GP3_THROUGHPUT)


def _differences(
    ref: SnapshotRef, spec: VolumeSpec, wanted: Wanted, kind: VolumeType | None
) -> Iterator[str]:
    """Return each property in which the volume differs from the one recorded, and why."""
    of_its_size = kind is not None and kind.all_iops is None and spec.type == ref.type
    rows: tuple[tuple[str, Any, Any, Any, bool], ...] = (
        ("size", ref.size_gib, spec.size_gib, wanted.size_gib, True),
        ("type", ref.type or None, spec.type, wanted.type, True),
        ("iops", ref.iops, spec.iops, wanted.iops, not of_its_size),
        ("throughput", ref.throughput, spec.throughput, wanted.throughput, True),
        ("multi_attach", ref.multi_attach, spec.multi_attach, None, True),
    )
    for name, recorded, made, asked, counts in rows:
        if recorded != made and counts:
            why = "as asked for" if asked is not None else f"as {_why(recorded, made, spec.type, kind)}"
            yield f"{name} is {_said(made)} instead of {_said(recorded)}, {why}"


def _why(recorded: Any, made: Any, type: str, kind: VolumeType | None) -> str:
    if kind is None:
        return f"{type} is not known here and EBS decides"
    if recorded is None:
        return f"none was recorded; it is {type}'s own"
    return f"{type} has none to set" if made in (None, False) else f"{type} takes no more and no less"


def _said(value: Any) -> str:
    return "not set" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
