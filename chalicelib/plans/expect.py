"""What size a service's backups are expected to have: one far smaller than those before it is doubted.

A dump client that is missing behind a pipe makes an empty file and exits 0. Invariant: what is doubted is
never what others are measured by, so a week of such files is doubted to the last.
"""

from collections.abc import Sequence
from statistics import median_low
from typing import Annotated

from pydantic import Field

from chalicelib.plans.declared import Declared, Maybe, worded
from chalicelib.plans.values import Shrink

# Of so many good backups the median is taken: one odd size among them moves it little.
MEASURED_BY = 5


class Expect(Declared):
    """What size a backup has; another one is *suspect*."""

    min_bytes: Annotated[
        Maybe[Annotated[int, Field(ge=1), worded("a whole number of bytes, 1 or more", title="bytes")]],
        Field(description="at least so many bytes"),
    ] = None
    shrink: Annotated[
        Shrink,
        Field(description="at most so much smaller than the median of the last five good backups"),
    ] = 50


def why_suspect(expect: Expect, size_bytes: int, before: Sequence[int]) -> str:
    """Return why a backup of this size is suspect, "" when it is not; `before` has the sizes of the good ones
    before it, the newest first."""
    if expect.min_bytes is not None and size_bytes < expect.min_bytes:
        return f"{size_bytes:,} bytes, less than the {expect.min_bytes:,} expected (expect.min_bytes)"
    if not before:
        return ""
    measure = median_low(before[:MEASURED_BY])
    if size_bytes * 100 >= measure * (100 - expect.shrink):
        return ""
    return (
        f"{size_bytes:,} bytes, more than {expect.shrink}% smaller than the {measure:,} of those before it "
        "(expect.shrink)"
    )
