"""What every test shares: the integration mark, the pace of garbage collection, the number of workers."""

import gc
import os

import pytest

from local_cloud import http_pace
from tests.support import components
from tests.support.thoroughness import EXHAUSTIVE, leave_long_out, spread_shells

# Nearly all that is made goes by itself: looking for the rest at Python's own pace takes a seventh of the
# time of the suite. Much of that is while SDKs are imported, so it is the first thing done.
gc.set_threshold(200_000, 20, 100)


def pytest_configure() -> None:
    http_pace.quicken()
    if unknown := components.required() - components.COMMANDS.keys():
        raise pytest.UsageError(f"FARSHORE_REQUIRE_COMPONENTS names unknown components: {sorted(unknown)}")


def pytest_xdist_auto_num_workers() -> int:
    """Have one worker more than there are cores: some tests wait for processes of their own."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what a run need not play; begin with the longest tests, which else would end alone."""
    named = any("::" in argument for argument in items[0].config.args) if items else True
    left_out = spread_shells(items) + ([] if named else leave_long_out(items))
    if left_out:
        items[0].config.hook.pytest_deselected(items=left_out)
        out = {item.nodeid for item in left_out}
        items[:] = [item for item in items if item.nodeid not in out]
    items.sort(key=lambda item: not item.path.stem.startswith("test_interruptions"))


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()  # modules, SDKs and tests stay to the end: they are not looked through again


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    gc.collect()
    gc.freeze()  # else pytest, and Python in the end, look through all that is left eight times


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("integration"):
        (component,) = mark.args
        if lacking := components.missing(component):
            reason = f"{component} is not installed ({', '.join(lacking)})"
            if component in components.required():
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = sorted(
        str(value)
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == "import"
    )
    if lines:
        terminalreporter.section("import times of the packaged handlers")
        terminalreporter.write("\n".join([*lines, ""]))
    counts = [
        value
        for report in [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
        for name, value in report.user_properties
        if name == "interruptions" and report.when == "call"
    ]
    if counts:
        played, known = map(sum, zip(*counts, strict=True))
        terminalreporter.write_line(f"{played} of {known} interruptions were played")
    if not EXHAUSTIVE:
        terminalreporter.write_line(
            "each test of a shell was run under one of them, long tests were left out or run once; "
            "EXHAUSTIVE=1 plays all"
        )
