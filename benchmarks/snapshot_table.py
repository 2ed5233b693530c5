"""The figures of the snapshot runs as a table: a column for each run, then what does not fit into one. Pure.

A figure that a run does not have is a dash; a run that could not be measured, or did not end well, says
why below the table.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from textwrap import fill
from typing import Any

Run = Mapping[str, Any]
"""What `farshore_run` and `custodian_run` print."""
Figure = Callable[[Run], str]
WIDTH, LABEL_WIDTH, COLUMN_WIDTH = 110, 50, 24
NONE = "-"
GOAL_CALLS, GOAL_BOUND = 1.02, 1.05


def number(*path: str, digits: int = 0) -> Figure:
    """Show the number that `path` leads to."""

    def show(run: Run) -> str:
        found = value(run, *path)
        return NONE if found is None else f"{found:,.{digits}f}"

    return show


def value(run: Run, *path: str) -> Any:
    """Return what `path` leads to, None where it leads nowhere."""
    found: Any = run
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def judged(goal: float, *path: str) -> Figure:
    """Show a number, and whether it is within the goal."""

    def show(run: Run) -> str:
        found = value(run, *path)
        return NONE if found is None else f"{found:.2f} {'met' if found <= goal else 'MISSED'}"

    return show


def share(*path: str) -> Figure:
    """Show a share of one as a percentage."""

    def show(run: Run) -> str:
        found = value(run, *path)
        return NONE if found is None else f"{found:.0%}"

    return show


def percentiles(run: Run) -> str:
    """Show the median and the 99th percentile of the starts."""
    starts = value(run, "starts")
    return NONE if starts is None else f"{starts['p50_seconds']:,.1f} / {starts['p99_seconds']:,.1f}"


def completed_jobs(run: Run) -> str:
    """Show how many of the backups' jobs completed."""
    states = value(run, "jobs", "states")
    return NONE if states is None else f"{states.get('COMPLETED', 0):,} of {sum(states.values()):,}"


def completed_snapshots(run: Run) -> str:
    """Show how many snapshots EC2 has, of how many there should be: one of each data volume."""
    states = value(run, "snapshots")
    return NONE if states is None else f"{states.get('completed', 0):,} of {2 * run['instances']:,}"


def calls_for_each(run: Run) -> str:
    """Show all AWS calls, shared out among the instances."""
    services = value(run, "calls_by_service")
    return NONE if services is None else f"{sum(services.values()):.2f}"


ABOVE: Sequence[tuple[str, Figure]] = (
    ("instances, each with 2 data volumes", number("instances")),
    ("CreateSnapshots calls made", number("starting_calls", "made")),
    ("  refused by the bucket", number("starting_calls", "refused")),
    ("  failed otherwise", number("starting_calls", "failed")),
    (
        f"mutating EC2 calls an instance (goal <= {GOAL_CALLS})",
        judged(GOAL_CALLS, "mutating_ec2_per_instance"),
    ),
    ("last start after it was due, simulated s", number("starts", "last_seconds", digits=1)),
    ("  the bucket's own bound, (N - 100) / 5 s", number("starts", "bound_seconds", digits=1)),
    (f"  last start over the bound (goal <= {GOAL_BOUND})", judged(GOAL_BOUND, "starts", "times_bound")),
    ("start p50 / p99, simulated s", percentiles),
    ("the bucket's tokens used until the last start", share("starts", "bucket_used")),
    ("jobs COMPLETED", completed_jobs),
    ("snapshots completed", completed_snapshots),
    ("AWS calls for each instance", calls_for_each),
)
BELOW: Sequence[tuple[str, Figure]] = (
    ("planning tick: AWS calls", number("planning", "calls")),
    ("  real s here", number("planning", "seconds", digits=1)),
    ("  s at 20 ms a call", number("planning", "seconds_on_aws", digits=1)),
    ("  memory it adds, MiB", number("planning", "growth_mib")),
    ("peak memory of the process, MiB", number("peak_mib")),
    ("real s of the whole night", number("night_seconds")),
)


def table(runs: Sequence[Run]) -> Iterator[str]:
    """Write the table, then each run's calls, refusals and faults."""
    yield row("", [run["contestant"] for run in runs])
    for label, figure in ABOVE:
        yield row(label, map(figure, runs))
    for service in services(runs):
        yield row(f"  {service}", map(number("calls_by_service", service, digits=2), runs))
    for label, figure in BELOW:
        yield row(label, map(figure, runs))
    for run in runs:
        yield from details(run)


def row(label: str, cells: Iterable[str]) -> str:
    """Write one line of the table."""
    return f"{label:<{LABEL_WIDTH}}" + "".join(f"{cell:>{COLUMN_WIDTH}}" for cell in cells)


def services(runs: Sequence[Run]) -> list[str]:
    """Return the services that any run called, in the order of their names."""
    return sorted({service for run in runs for service in run.get("calls_by_service", {})})


def details(run: Run) -> Iterator[str]:
    """Write what of a run does not fit into a column."""
    yield f"\n{run['contestant']}, {run['instances']:,} instances"
    if (why := fault(run)) is not None:
        yield wrapped(f"NOT {why}")
    if calls := run.get("calls_by_operation"):
        yield wrapped("calls for each instance: " + listed(calls, ".2f"))
    for name in ("refused_calls", "failed_calls"):
        if calls := run.get(name):
            yield wrapped(f"{name.replace('_', ' ')} in all: " + listed(calls, ",d"))
    for name, function in run.get("functions", {}).items():
        yield wrapped(
            f"{name}: {function['invocations']:,} invocations, {function['calls']:,} AWS calls, "
            f"the longest {function['longest_seconds']:.1f} real s"
        )


def fault(run: Run) -> str | None:
    """Return what of a run went wrong, None if nothing did."""
    if why := run.get("not_measured"):
        return f"MEASURED: {why}"
    jobs: Mapping[str, Any] = run.get("jobs") or {}
    states: Mapping[str, int] = jobs.get("states", {})
    others = ", ".join(
        f"{count:,} {state}" for state, count in sorted(states.items()) if state != "COMPLETED"
    )
    reason = jobs.get("reason") or run.get("reason") or "no reason given"
    if others or (jobs and not states):
        return f"ALL COMPLETED: {others or 'no job was opened'}; {reason}"
    return None if run.get("over") else f"OVER IN TIME: {reason}"


def listed(counts: Mapping[str, float], form: str) -> str:
    """Write counts by name in one line."""
    return ", ".join(f"{name} {count:{form}}" for name, count in counts.items())


def wrapped(text: str) -> str:
    """Break a text into lines below a run's name."""
    return fill(text, WIDTH, initial_indent="  ", subsequent_indent="    ")
