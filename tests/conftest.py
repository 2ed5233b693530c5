"""What every test shares: the integration mark, and how often garbage is looked for."""

import gc

import pytest

from tests import components


def pytest_configure() -> None:
    # SDKs and local clouds are a million objects that stay: looking through them at Python's own pace takes a
    # seventh of the time of the suite.
    gc.set_threshold(50_000, 20, 50)
    if unknown := components.required() - components.COMMANDS.keys():
        raise pytest.UsageError(f"FARSHORE_REQUIRE_COMPONENTS names unknown components: {sorted(unknown)}")


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
