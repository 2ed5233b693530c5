"""What `make package` made: the template, and the zip unpacked as Lambda would."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from local_cloud.cloudformation.template import read_template

PACKAGE = Path(__file__).parents[2] / "build" / "package"


@pytest.fixture(scope="session")
def template() -> Mapping[str, Any]:
    path = PACKAGE / "sam.json"
    if not path.exists():
        pytest.fail("there is no packaged template: run `make package`", pytrace=False)
    return read_template(path)


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("task")
    with zipfile.ZipFile(PACKAGE / "deployment.zip") as archive:
        archive.extractall(folder)
    return folder
