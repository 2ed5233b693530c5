"""The keys and sizes of the objects in a vault. Pure; no key is made anywhere else.

    restore.sh                                               restores from this vault without Farshore
    points/<service>/<rule>/<nominal time>-<recovery point>/ one folder per recovery point
        manifest.json                                        what it is, and the hash of every byte of it
        data                                                 a service backup as one object (S3)
        segments/000001 ...                                  or cut into objects of a fixed size (off-site)
    staging/<job>                                            a file that a restore is assembling
    mailbox/<job>/                                           what a job and its script exchange (S3); a probe

Invariant: different names never share a folder, and keys consist of `A-Z a-z 0-9 . _ - /` only, so that they
mean the same in a URL, in a file system and to every provider.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

MIB = 1024 * 1024

RESTORE_SCRIPT_KEY = "restore.sh"
POINTS_PREFIX = "points/"
STAGING_PREFIX = "staging/"
MAILBOX_PREFIX = "mailbox/"
# The prefixes of what a job needs while it runs: PREFIX/JOB, or PREFIX/JOB/...
JOB_PREFIXES = (STAGING_PREFIX, MAILBOX_PREFIX)

SEGMENT_BYTES = 16 * MIB

# S3 takes at most 10,000 parts of 5 MiB to 5 GiB.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
MAX_PARTS = 10_000
FIRST_PART_BYTES = 8 * MIB
LARGEST_PART_BYTES = 640 * MIB
PARTS_PER_SIZE = 32

# File names have at most 255 bytes; a folder's name is kept well below that.
_LONGEST_NAME = 120


@dataclass(frozen=True, slots=True)
class Segment:
    """One piece of a file, stored as an object of its own: `size_bytes` bytes from offset `start`."""

    number: int
    start: int
    size_bytes: int


def service_folder(service: str, rule: str) -> str:
    """Return the folder that holds every recovery point of a service's rule; it ends with a slash."""
    return f"{POINTS_PREFIX}{encode_name(service)}/{encode_name(rule)}/"


def point_folder(service: str, rule: str, nominal_at: datetime, recovery_point: str) -> str:
    """Return a recovery point's folder; it ends with a slash. Folders of a rule sort by nominal time."""
    stamp = nominal_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{service_folder(service, rule)}{stamp}-{encode_name(recovery_point)}/"


def folder_of_key(key: str) -> str | None:
    """Return the recovery point's folder that a key is in; None if it is in none."""
    steps = key.split("/")
    return "/".join(steps[:4]) + "/" if key.startswith(POINTS_PREFIX) and len(steps) > 4 else None


def point_of_folder(folder: str) -> str:
    """Return the recovery point's id in a folder's name, or whatever text is at its place."""
    return folder.rstrip("/").rpartition("/")[2].partition("-")[2]


def job_of_key(key: str) -> str | None:
    """Return the job that an object of `staging/` or `mailbox/` belongs to; None for any other object."""
    for prefix in JOB_PREFIXES:
        if key.startswith(prefix):
            return key.removeprefix(prefix).partition("/")[0]
    return None


def staging_key(job: str) -> str:
    """Return the key of the object in which a job assembles a file."""
    return f"{STAGING_PREFIX}{job}"


def mailbox_folder(job: str) -> str:
    """Return the folder of the mailbox of a job and its script; it ends with a slash."""
    return f"{MAILBOX_PREFIX}{encode_name(job)}/"


def probe_key(job: str) -> str:
    """Return the key of the object with which a job probes a vault."""
    return f"{mailbox_folder(job)}probe"


def manifest_key(folder: str) -> str:
    """Return the key of the manifest in a recovery point's folder."""
    return f"{folder}manifest.json"


def data_key(folder: str) -> str:
    """Return the key of the object that holds a whole service backup."""
    return f"{folder}data"


def segment_name(number: int) -> str:
    """Return the name of a segment (counted from 1) relative to its folder, as in the manifest."""
    return f"segments/{number:06d}"


def segment_key(folder: str, number: int) -> str:
    """Return the key of a segment."""
    return f"{folder}{segment_name(number)}"


def encode_name(name: str) -> str:
    """Return a name encoded in letters, digits, `-`, `.` and `_` only; different names stay different.

    `_` becomes `__`; every other byte, and a leading dot, becomes `_XX`. A name that is too long for a folder
    is cut and ends in its hash.
    """
    encoded = "".join(_encode_character(character, first=not at) for at, character in enumerate(name))
    if not encoded:
        return "_-"
    if len(encoded) <= _LONGEST_NAME:
        return encoded
    # No other encoding contains "_-", so a shortened name is never mistaken for another. The cut must not
    # leave a "_" at the end, which would make it "__-".
    digest = hashlib.sha256(name.encode()).hexdigest()[:32]
    return f"{encoded[: _LONGEST_NAME - 34].rstrip('_')}_-{digest}"


def part_sizes() -> Iterator[int]:
    """Yield the size of each part of an upload whose length is not known, in order.

    Sizes double every 32 parts from 8 MiB up to 640 MiB: a small backup is sent in small parts, and 5 TiB
    still fits in the 10,000 parts that S3 allows.
    """
    for number in range(MAX_PARTS):
        yield min(FIRST_PART_BYTES << (number // PARTS_PER_SIZE), LARGEST_PART_BYTES)


def segments(size_bytes: int, segment_bytes: int = SEGMENT_BYTES) -> Iterator[Segment]:
    """Yield the segments of a file: in order, without gap or overlap, all of one size but the last."""
    if segment_bytes < 1:
        raise ValueError(f"a segment of {segment_bytes} bytes holds nothing")
    for number, start in enumerate(range(0, size_bytes, segment_bytes), start=1):
        yield Segment(number, start, min(segment_bytes, size_bytes - start))


def _encode_character(character: str, *, first: bool) -> str:
    if character == "_":
        return "__"
    if character.isascii() and (character.isalnum() or character == "-" or (character == "." and not first)):
        return character
    return "".join(f"_{byte:02X}" for byte in character.encode())
