"""The size that a service's backups are expected to have: a far smaller one is suspect.

A dump client that is missing in front of a pipe produces an empty file and exits 0. Invariant: a suspect
backup is never part of the measure for others, so a week of such files stays suspect to the last one.
"""

from collections.abc import Sequence
from statistics import median_low
from typing import Annotated

from pydantic import Field

from chalicelib.plans.declared import Declared, Maybe, worded
from chalicelib.plans.values import Shrink

# The median of this many good backups: one unusual size among them changes it little.
MEASURED_BY = 5


class Expect(Declared):
    """The size of a backup that is not *suspect*."""

    min_bytes: Annotated[
        Maybe[Annotated[int, Field(ge=1), worded("a whole number of bytes, 1 or more", title="bytes")]],
        Field(description="the smallest size of a backup that is not suspect"),
    ] = None
    shrink: Annotated[
        Shrink,
        Field(description="how much smaller than the median of the last five good backups it may be"),
    ] = 50


def why_suspect(expect: Expect, size_bytes: int, before: Sequence[int]) -> str:
    """Return why a backup of this size is suspect, or "" when it is not.

    `before` has the sizes of the good backups before it, newest first.
    """
    if expect.min_bytes is not None and size_bytes < expect.min_bytes:
        return f"{size_bytes:,} bytes, less than the {expect.min_bytes:,} expected (expect.min_bytes)"
    if not before:
        return ""
    measure = median_low(before[:MEASURED_BY])
    if size_bytes * 100 >= measure * (100 - expect.shrink):
        return ""
    return (
        f"{size_bytes:,} bytes, more than {expect.shrink}% smaller than the {measure:,} median of those "
        "before it (expect.shrink)"
    )
