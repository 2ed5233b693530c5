"""How long the steps of launches took, as percentiles. Pure."""

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from chalicelib.plans.durations import render_duration

STEPS = ("running", "online", "restored", "verified")


def nearest_rank(values: Sequence[timedelta], percent: int) -> timedelta:
    """Return the smallest value that so many percent of the values do not exceed; there is at least one."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def in_seconds(taken: timedelta) -> str:
    """Return how long something took as text, rounded up to a whole second, of which it is at least one."""
    return render_duration(timedelta(seconds=max(1, math.ceil(taken.total_seconds()))))


def steps_in_words(began_at: datetime, launches: Iterable[Any]) -> str:
    """Return how long launches took from their common beginning to each step that some reached, p50 and p99.

    `launches` are what they have recorded of themselves; they have a time for each step, such as
    `running_at`.
    """
    known = list(launches)
    said = []
    for step in STEPS:
        taken = [at - began_at for each in known if (at := getattr(each, f"{step}_at")) is not None]
        if taken:
            half, most = (in_seconds(nearest_rank(taken, percent)) for percent in (50, 99))
            said.append(f"{step} p50 {half} p99 {most}")
    return ", ".join(said)
