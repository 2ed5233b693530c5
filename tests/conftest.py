"""What every test shares: the integration mark."""

import pytest

from tests import components


def pytest_configure() -> None:
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
