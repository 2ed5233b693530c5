"""The local cloud is a project of its own, and is tested with what it asks for."""

import tomllib
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent.parent


def test_the_local_cloud_asks_for_the_versions_it_is_tested_with() -> None:
    project = tomllib.loads((CHECKOUT / "local" / "pyproject.toml").read_text())["project"]
    pinned = {
        line
        for name in ("requirements.txt", "requirements-dev.txt")
        for line in (CHECKOUT / name).read_text().splitlines()
    }
    assert set(project["dependencies"]) - pinned == set()
