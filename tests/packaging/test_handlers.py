"""Every handler the packaged template names works for Lambda: from the zip, in a fresh interpreter."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

HANDLERS = {
    "APIHandler": "app.app",
    "Tick": "chalicelib.triggers.schedules.tick",
    "AdvanceJobs": "chalicelib.triggers.queues.advance_jobs",
    "AdvanceDeletions": "chalicelib.triggers.queues.advance_deletions",
    "Completions": "chalicelib.triggers.completions.completions",
    "Launches": "chalicelib.triggers.launches.launches",
}
# What Lambda's Python runtime brings along; all else must be in the zip.
# https://docs.aws.amazon.com/lambda/latest/dg/python-package.html
RUNTIME = ("boto3", "botocore", "s3transfer", "dateutil", "six")
PROGRAM = """
import importlib, json, sys, time
sys.path[:0] = sys.argv[2:]
module, _, name = sys.argv[1].rpartition(".")
start = time.perf_counter()
handler = getattr(importlib.import_module(module), name)
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "callable": callable(handler), "modules": sorted(sys.modules)}))
"""


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the runtime brings along and nothing else."""
    folder = tmp_path_factory.mktemp("runtime")
    for name in RUNTIME:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        source = origin.parent if origin.name == "__init__.py" else origin
        (folder / source.name).symlink_to(source)
    return folder


def imported(handler: str, *folders: Path) -> Mapping[str, Any]:
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", PROGRAM, handler, *map(str, folders)],
        capture_output=True,
        text=True,
        env={},
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    answer: Mapping[str, Any] = json.loads(ended.stdout)
    return answer


def test_the_template_names_just_these_handlers(template: Mapping[str, Any]) -> None:
    named = {
        logical_id: resource["Properties"]["Handler"]
        for logical_id, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }
    assert named == HANDLERS


@pytest.mark.parametrize("handler", HANDLERS.values())
def test_a_handler_is_imported_from_the_zip_alone(
    handler: str, unpacked: Path, runtime: Path, record_property: Callable[[str, object], None]
) -> None:
    seen = imported(handler, unpacked, runtime)
    assert seen["callable"]
    record_property("import", f"{handler}: {seen['seconds']:.2f} s, {len(seen['modules'])} modules")


@pytest.mark.parametrize("handler", HANDLERS.values())
def test_libcloud_is_not_imported_before_it_is_needed(handler: str, unpacked: Path, runtime: Path) -> None:
    assert not [
        name for name in imported(handler, unpacked, runtime)["modules"] if name.startswith("libcloud")
    ]


def test_a_package_that_lacks_a_requirement_is_noticed(runtime: Path, tmp_path: Path) -> None:
    (tmp_path / "needy.py").write_text("import pydantic\n\ndef handler(): ...\n")
    with pytest.raises(AssertionError, match="No module named 'pydantic'"):
        imported("needy.handler", tmp_path, runtime)
