"""The figures count what they say they count; how fast anything is, is no test."""

from pathlib import Path

import pytest

from benchmarks import code
from benchmarks.calls import count_calls

ROOM = """\
import os


@cache
def outer():
    'Say what it is for.'

    def inner():
        return 1

    return inner
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    (tmp_path / "house").mkdir()
    (tmp_path / "house" / "__init__.py").touch()
    (tmp_path / "house" / "room.py").write_text(ROOM)
    return tmp_path / "house"


def test_functions_are_measured_from_def_to_their_last_line(package: Path) -> None:
    assert code.functions(package) == [
        code.Length("house/room.py:outer", 7),
        code.Length("house/room.py:inner", 2),
    ]


def test_empty_files_are_not_measured(package: Path) -> None:
    assert code.files(package) == [code.Length("house/room.py", 11)]


def test_lengths_are_summed_up_with_the_longest_by_name() -> None:
    lengths = [code.Length(str(lines), lines) for lines in range(1, 12)]
    summed = code.sum_up(lengths, longest=2)
    assert (summed.count, summed.total, summed.median, summed.ninetieth) == (11, 66, 6, 10)
    assert [each.lines for each in summed.longest] == [11, 10]


def test_calls_are_counted_for_the_job_that_made_them(tmp_path: Path) -> None:
    counted = count_calls(tmp_path)
    assert counted.idle_tick == {"dynamodb:Query": 1}
    made_by = {
        operation: {name: calls[operation] for name, calls in counted.work.items() if calls[operation]}
        for operation in ("ec2:CreateSnapshots", "ec2:CopySnapshot", "s3:CopyObject", "ec2:CreateVolume")
    }
    assert made_by == {
        "ec2:CreateSnapshots": {"snapshot backup, 1 volume": 1},
        "ec2:CopySnapshot": {"copy of a snapshot to another region": 1},
        "s3:CopyObject": {"copy of a file to another region": 1},
        "ec2:CreateVolume": {"restore of a volume": 1},
    }
    assert counted.work["service backup, 1 MB in 1 part"]["s3:UploadPart"] == 1  # the instance's own
