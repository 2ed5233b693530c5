"""The POSIX shells that a script of ours must run under, as parameters of a fixture or a test."""

import shutil

import pytest

SHELLS = (
    pytest.param(("dash",), id="dash"),
    pytest.param(("bash", "--posix"), id="bash"),
    pytest.param(("busybox", "sh"), id="busybox", marks=pytest.mark.integration("busybox")),
)


def require(shell: tuple[str, ...]) -> None:
    """Skip a test by name where its shell is not installed."""
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not installed")
