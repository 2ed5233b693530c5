"""Every handler the packaged template names works for Lambda: from the zip, in a fresh interpreter."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.packaging.zip_python import output_on, run_on

HANDLERS = {
    "APIHandler": "app.app",
    "Tick": "chalicelib.triggers.schedules.tick",
    "AdvanceJobs": "chalicelib.triggers.queues.advance_jobs",
    "AdvanceDeletions": "chalicelib.triggers.queues.advance_deletions",
    "Completions": "chalicelib.triggers.completions.completions",
    "Launches": "chalicelib.triggers.launches.launches",
}
PROGRAM = """
import importlib, json
module, _, name = sys.argv[1].rpartition(".")
handler = getattr(importlib.import_module(module), name)
print(json.dumps({"callable": callable(handler), "modules": sorted(sys.modules)}))
"""


def imported(handler: str, folder: Path) -> Mapping[str, Any]:
    answer: Mapping[str, Any] = json.loads(output_on(folder, PROGRAM, handler))
    return answer


def test_the_template_names_just_these_handlers(template: Mapping[str, Any]) -> None:
    named = {
        logical_id: resource["Properties"]["Handler"]
        for logical_id, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }
    assert named == HANDLERS


@pytest.mark.parametrize("handler", HANDLERS.values())
def test_a_handler_is_imported_from_the_zip_alone(handler: str, unpacked: Path) -> None:
    seen = imported(handler, unpacked)
    assert seen["callable"]
    assert not [name for name in seen["modules"] if name.startswith("libcloud")]


def test_a_package_that_lacks_a_requirement_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "needy.py").write_text("import requests\n\ndef handler(): ...\n")
    assert "No module named 'requests'" in run_on(tmp_path, PROGRAM, "needy.handler").stderr
