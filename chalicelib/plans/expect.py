"""What size a service's backups are expected to have: one far smaller than those before it is doubted.

A dump client that is missing behind a pipe makes an empty file and exits 0. Invariant: what is doubted is
never what others are measured by, so a week of such files is doubted to the last.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low

# Of so many good backups the median is taken: one odd size among them moves it little.
MEASURED_BY = 5


@dataclass(frozen=True, slots=True)
class Expect:
    """The least bytes a backup has (None: any number will do), and by how many percent it may be smaller than
    those before it (None: by any)."""

    min_bytes: int | None = None
    shrink: int | None = 50


def doubt(expect: Expect, size_bytes: int, before: Sequence[int]) -> str:
    """Return why a backup of this size is suspect, "" when it is not; `before` has the sizes of the good ones
    before it, the newest first."""
    if expect.min_bytes is not None and size_bytes < expect.min_bytes:
        return f"{size_bytes:,} bytes, less than the {expect.min_bytes:,} expected (expect.min_bytes)"
    if expect.shrink is None or not before:
        return ""
    measure = median_low(before[:MEASURED_BY])
    if size_bytes * 100 >= measure * (100 - expect.shrink):
        return ""
    return (
        f"{size_bytes:,} bytes, more than {expect.shrink}% smaller than the {measure:,} of those before it "
        "(expect.shrink)"
    )
