"""Each contestant does the work it is timed for; how fast it is, is no test."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import transfer

SIZE_MIB = 20


@pytest.fixture
def source(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    file = tmp_path / "data"
    transfer.make_file(file, SIZE_MIB)
    with transfer.served(file) as url:
        yield file, url


@pytest.mark.parametrize("name", ["plain", "durable", "move"])
def test_a_contestant_carries_the_whole_file(source: tuple[Path, str], tmp_path: Path, name: str) -> None:
    file, url = source
    target = tmp_path / "target"
    target.mkdir()
    given = url if name == "move" else str(file)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.contestants",
            name,
            given,
            str(SIZE_MIB * transfer.MIB),
            str(target),
        ],
        check=True,
        env=transfer.undisturbed(),
    )
    pieces = sorted(each for each in target.rglob("*") if each.is_file())
    assert b"".join(each.read_bytes() for each in pieces) == file.read_bytes()
