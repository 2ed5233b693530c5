"""The manifest beside every artefact: what it is, where it came from, and the hashes of its bytes. Pure.

It is JSON with one list entry per line and keys in a fixed order, because `restore.sh`, which has no JSON
parser, must be able to read it. Invariants: `from_json(to_json(m)) == m`; and reading returns a complete
manifest of a known format version, whose sizes add up, or raises an `IntegrityFailure` that says what is
wrong.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AwareDatetime, ConfigDict, Field, TypeAdapter, ValidationError

from chalicelib.errors import IntegrityFailure

FORMAT_VERSION = 1

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Size = Annotated[int, Field(ge=0)]
# restore.sh appends it to a folder, so it is relative and has nothing that a shell or a URL would interpret.
RelativeKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$")]


@dataclass(frozen=True, slots=True)
class PartHash:
    """One part, as the instance uploaded it."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    size_bytes: Size
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class SegmentHash:
    """One segment, which is an object of its own; `key` is relative to the manifest's folder."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    key: RelativeKey
    size_bytes: Size
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class SnapshotOf:
    """One snapshot of a recovery point, with what is needed to identify its volume and to make it again: the
    volume's instance and device, its type and performance, and a remark if there is one."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    snapshot_id: str
    region: str
    volume_id: str
    instance_id: str
    device: str
    size_gib: Size
    type: str
    iops: Size | None
    throughput: Size | None
    multi_attach: bool
    remark: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One recovery point in one vault.

    A service backup has `parts`, and either `segments` (off-site) or none of them: then it is the object
    `data`. Its `sha256` is None if the whole was never read in one go; then its parts identify it. A snapshot
    point has `snapshots` and no `sha256`; `size_bytes` is then the full size of its volumes.

    `origin` to `suspect` are as on the recovery point; what is confirmed or held later is in the catalog.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    format_version: Literal[1] = 1
    recovery_point: str
    service: str
    plan: str
    rule: str
    kind: Literal["service", "snapshot"]
    nominal_at: AwareDatetime
    created_at: AwareDatetime
    source: Mapping[str, str]
    size_bytes: Size
    sha256: Sha256 | None = None
    encryption: None = None
    hooks: None = None
    parts: tuple[PartHash, ...] = ()
    segments: tuple[SegmentHash, ...] = ()
    snapshots: tuple[SnapshotOf, ...] = ()
    origin: Literal["schedule", "rpo", "request", "launch", "termination"] = "schedule"
    note: str = ""
    keep_until: AwareDatetime | None = None
    left_out: tuple[str, ...] = ()
    suspect: str = ""


def to_json(manifest: Manifest) -> str:
    """Return a manifest as JSON: one top-level key, or one entry of a list, per line."""
    values = asdict(manifest) | {
        "nominal_at": _rfc3339(manifest.nominal_at),
        "created_at": _rfc3339(manifest.created_at),
        "keep_until": _rfc3339(manifest.keep_until) if manifest.keep_until else None,
    }
    lines = ",\n".join(f"  {json.dumps(key)}: {_value_text(value)}" for key, value in values.items())
    return f"{{\n{lines}\n}}\n"


def from_json(text: str | bytes, *, where: str) -> Manifest:
    """Return the manifest in a text; `where` names it (vault and key) in the error.

    Raises:
        IntegrityFailure: it is not JSON, lacks or adds a key, has an unknown format version, or its sizes
            do not add up.
    """
    try:
        document = json.loads(text)
    except ValueError as exc:
        raise _unreadable(f"it is not JSON: {exc}", where) from exc
    if not isinstance(document, dict):
        raise _unreadable("it is not a JSON object", where)
    version = document.get("format_version")
    if version != FORMAT_VERSION:
        raise _unreadable(
            f"its format version is {version!r}, and this Farshore reads {FORMAT_VERSION}", where
        )
    # A missing key is damage, never a default: without "encryption", a file would be taken for plain.
    missing = {each.name for each in fields(Manifest)} - document.keys()
    if missing:
        raise _unreadable(f"it lacks {', '.join(sorted(missing))}", where)
    try:
        # Validated as JSON: there, strict types accept a list for a tuple and a string for a time.
        manifest = _reader().validate_json(text)
    except ValidationError as exc:
        faults = (f"{'/'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in exc.errors())
        raise _unreadable("; ".join(faults), where) from exc
    fault = _contradiction(manifest)
    if fault:
        raise _unreadable(fault, where)
    return manifest


def identity(parts: Iterable[PartHash]) -> str:
    """Return the SHA-256 over the sizes and hashes of a file's parts; it identifies files of any size."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part.size_bytes} {part.sha256}\n".encode())
    return digest.hexdigest()


def check_describes(
    manifest: Manifest, recovery_point: str, sha256: str | None, parts_sha256: str | None, where: str
) -> None:
    """Compare the manifest of a file with the catalog's record of it.

    Raises:
        IntegrityFailure: the manifest is of another point, or of other bytes.
    """
    said = (manifest.recovery_point, manifest.sha256, identity(manifest.parts))
    if said != (recovery_point, sha256, parts_sha256):
        known = f"{recovery_point} with {sha256}, its parts with {parts_sha256}"
        told = "{} with SHA-256 {}, its parts with {}".format(*said)
        raise IntegrityFailure(
            f"it describes {told}, the catalog says {known}", operation="reading manifest", resource=where
        )


@cache
def _reader() -> TypeAdapter[Manifest]:
    return TypeAdapter(Manifest)


def _contradiction(manifest: Manifest) -> str | None:
    for name, pieces in (("parts", manifest.parts), ("segments", manifest.segments)):
        total = sum(piece.size_bytes for piece in pieces)
        if pieces and total != manifest.size_bytes:
            return f"its {name} have {total} bytes together, and it says {manifest.size_bytes}"
    if manifest.kind == "service" and (not (manifest.sha256 or manifest.parts) or manifest.snapshots):
        return "a service backup has a sha256 or parts, and no snapshots"
    if manifest.kind == "snapshot" and (manifest.sha256 or manifest.parts or manifest.segments):
        return "a snapshot has neither sha256 nor parts nor segments"
    return None


def _unreadable(why: str, where: str) -> IntegrityFailure:
    return IntegrityFailure(why, operation="reading manifest", resource=where)


def _value_text(value: Any) -> str:
    if not (isinstance(value, (list, tuple)) and value):
        return json.dumps(value)
    entries = ",\n".join(f"    {json.dumps(entry)}" for entry in value)
    return f"[\n{entries}\n  ]"


def _rfc3339(at: datetime) -> str:
    """Return a time as text, to the second, as the catalog has it."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
