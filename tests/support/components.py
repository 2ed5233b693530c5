"""The real servers some tests talk to: which of them this machine has, and which it must have.

`@pytest.mark.integration("azurite")` skips a test by name where the component is not installed, and fails
it where `FARSHORE_REQUIRE_COMPONENTS` (names with spaces between) says that it has to be there.
"""

import os
import shutil
from collections.abc import Mapping

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "azurite": ("azurite-blob",),
    "busybox": ("busybox",),
    "mariadb": ("mariadb-dump", "mariadb-install-db"),
    "ministack": ("ministack", "aws", "openssl", "ps"),
    "postgresql": ("pg_dump", "pg_createcluster", "pgbench"),
    "redis": ("redis-server", "redis-cli"),
    "schemathesis": ("schemathesis",),
    "swift": (
        "swift-proxy-server",
        "swift-account-server",
        "swift-container-server",
        "swift-object-server",
        "memcached",
    ),
}


def missing(component: str) -> tuple[str, ...]:
    """Return the commands of a component that this machine lacks."""
    return tuple(command for command in COMMANDS[component] if shutil.which(command) is None)


def required() -> frozenset[str]:
    """Return the components that must be there."""
    return frozenset(os.environ.get("FARSHORE_REQUIRE_COMPONENTS", "").split())
