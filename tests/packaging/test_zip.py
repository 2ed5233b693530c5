"""The zip is the same wherever it is made, is for the functions' platform, and has all that the app uses."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from lambda_package.build import Tools, build_dependencies, build_package
from lambda_package.compiled_modules import find_faults
from lambda_package.contents import SERVICES
from lambda_package.target import ARCHITECTURE, MODULE_SUFFIX, RUNTIME
from lambda_package.wheels import PackagingError, locked_wheels
from tests.packaging.conftest import PACKAGE
from tests.packaging.zip_python import output_on
from tests.support.components import required

CHECKOUT = Path(__file__).parents[2]
LOCK = CHECKOUT / "requirements.lock"
MODULE = f"pydantic_core/_pydantic_core.{MODULE_SUFFIX}"
ZIP = PACKAGE / "deployment.zip"
LAMBDA = Path(sys.prefix, "lambda")
TOOLS = Tools(LAMBDA / "wheels", Path(sys.executable).with_name("node"), LAMBDA / "compiler" / "node_modules")
LARGEST_BYTES = 16_000_000
# https://github.com/python/cpython/blob/3.13/Include/internal/pycore_magic_number.h
MAGIC_OF_3_13 = (3571).to_bytes(2, "little") + b"\r\n"
UNCHECKED_HASH = (1).to_bytes(4, "little")

MAKE_CLIENTS = """
import inspect, json
from chalicelib.aws.clients import Clients
clients = Clients("eu-central-1")
methods = [m for name, m in inspect.getmembers(clients, inspect.ismethod) if not name.startswith("_")]
made = [m("eu-west-1") if "region" in inspect.signature(m).parameters else m() for m in methods]
print(json.dumps(sorted({each.meta.service_model.service_name for each in made})))
"""
IMPORT_ALL = """
import importlib, pkgutil, app, chalicelib
for each in pkgutil.walk_packages(chalicelib.__path__, "chalicelib."):
    importlib.import_module(each.name)
"""
LOAD_PROVIDERS = """
from libcloud.storage.providers import DRIVERS, get_driver
for provider in DRIVERS:
    get_driver(provider)
print(len(DRIVERS))
"""
PUT_LOCALLY = """
from pathlib import Path
from chalicelib.vaults.offsite import open_offsite
Path(sys.argv[1], "box").mkdir()
vault = open_offsite("away", provider="local", container="box", options={}, credentials={"key": sys.argv[1]})
vault.put("name", b"content")
print(Path(sys.argv[1], "box", "name").read_text())
"""
PACKAGED_FILES = """
import stage
stage.run_packaged_code()
import app, chalicelib
print(app.__file__, chalicelib.__file__)
"""


def pins() -> Mapping[str, str]:
    """Return the locked version of each distribution."""
    lines = [line.partition(" ")[0] for line in LOCK.read_text().splitlines() if line[0] != "#"]
    return dict(line.split("==") for line in lines)


# The same wherever it is made


@pytest.mark.long
def test_a_second_build_elsewhere_makes_the_same_bytes(tmp_path: Path) -> None:
    mask = os.umask(0o077)
    try:
        build_dependencies(LOCK, TOOLS, tmp_path / "dependencies")
        build_package(CHECKOUT, tmp_path / "dependencies", TOOLS, tmp_path / "package")
    finally:
        os.umask(mask)
    for name in ("deployment.zip", "sam.json"):
        same = (tmp_path / "package" / name).read_bytes() == (PACKAGE / name).read_bytes()
        assert same, f"{name} differs, or `make package` was not run since a change"


def test_functions_are_deployed_to_the_platform_that_they_are_packaged_for(
    template: Mapping[str, Any],
) -> None:
    functions = [each for each in template["Resources"].values() if each["Type"].endswith("::Function")]
    assert {each["Properties"]["Runtime"] for each in functions} == {RUNTIME}
    assert [each["Properties"]["Architectures"] for each in functions] == [[ARCHITECTURE]] * len(functions)


def test_what_is_packaged_is_what_is_tested() -> None:
    assert {name: version(name) for name in pins()} == dict(pins())


def test_every_requirement_is_locked() -> None:
    asked = [line for line in (CHECKOUT / "requirements.txt").read_text().splitlines() if line[0] != "#"]
    assert {line.lower() for line in asked} <= {f"{name}=={pin}" for name, pin in pins().items()}


def test_a_wheel_that_is_not_the_locked_one_is_refused(tmp_path: Path) -> None:
    shutil.copytree(TOOLS.wheels, tmp_path / "wheels")
    wheel = next((tmp_path / "wheels").glob("jmespath-*"))
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    with pytest.raises(PackagingError, match=r"lacks the wheel of jmespath==1\.1\.0"):
        list(locked_wheels(LOCK, tmp_path / "wheels"))


# For the functions' platform


@pytest.fixture
def dependencies(tmp_path: Path, unpacked: Path) -> Path:
    """Return a folder like the unpacked zip, to be spoiled."""
    return Path(shutil.copytree(unpacked, tmp_path / "spoiled", copy_function=os.link))


@pytest.mark.long
@pytest.mark.parametrize(
    ("platform", "python", "fault"),
    [
        ("manylinux2014_aarch64", "3.13", "is not for x86_64"),
        ("musllinux_1_1_x86_64", "3.13", "is not linked with glibc"),
        ("manylinux2014_x86_64", "3.12", "is not for Python 3.13"),
        ("macosx_11_0_arm64", "3.13", "is no Linux module"),
    ],
)
def test_the_wheels_of_another_platform_cannot_be_packaged(
    tmp_path: Path, platform: str, python: str, fault: str
) -> None:
    other = other_wheel(tmp_path / "other", platform, python)
    ours = next(TOOLS.wheels.glob("pydantic_core-*"))
    shutil.copytree(TOOLS.wheels, tmp_path / "wheels", ignore=shutil.ignore_patterns("pydantic_core-*"))
    shutil.copy(other, tmp_path / "wheels")
    lock = tmp_path / "requirements.lock"
    lock.write_text(LOCK.read_text().replace(digest(ours), digest(other)))
    with pytest.raises(PackagingError) as refused:
        build_dependencies(lock, Tools(tmp_path / "wheels", TOOLS.node, TOOLS.compiler), tmp_path / "built")
    assert fault in str(refused.value)
    assert "pydantic_core/_pydantic_core: there is no module for Python 3.13 on x86_64" in str(
        refused.value
    ) or (python == "3.13" and platform.endswith(ARCHITECTURE))


def other_wheel(folder: Path, platform: str, python: str) -> Path:
    """Download the locked pydantic_core for another platform; skip where that cannot be had."""
    wanted = f"pydantic-core=={pins()['pydantic-core']}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--implementation=cp", f"--python-version={python}", f"--platform={platform}"]
    ended = subprocess.run([*command, "--dest", str(folder), wanted], capture_output=True, check=False)
    if ended.returncode:
        (pytest.fail if required() else pytest.skip)(f"no wheel for {platform} can be downloaded")
    (wheel,) = folder.iterdir()
    return wheel


def digest(wheel: Path) -> str:
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def test_all_modules_of_the_zip_are_for_the_functions(unpacked: Path) -> None:
    assert find_faults(unpacked) == []


def test_a_package_without_the_module_that_it_needs_is_refused(dependencies: Path) -> None:
    (dependencies / MODULE).unlink()
    assert find_faults(dependencies) == [
        "pydantic_core/_pydantic_core: there is no module for Python 3.13 on x86_64"
    ]


def test_a_module_that_needs_a_newer_glibc_is_refused(dependencies: Path) -> None:
    module = (dependencies / MODULE).read_bytes().replace(b"\0GLIBC_2.14\0", b"\0GLIBC_2.99\0")
    (dependencies / MODULE).unlink()
    (dependencies / MODULE).write_bytes(module)
    assert find_faults(dependencies) == [f"{MODULE}: needs glibc 2.99; the runtime has 2.34"]


def test_a_module_without_a_suffix_is_looked_at_too(dependencies: Path) -> None:
    (dependencies / "tool").write_bytes(b"\xcf\xfa\xed\xfe" + bytes(32))
    assert find_faults(dependencies) == ["tool: is no Linux module"]


# All that the app uses


def test_every_client_of_the_app_can_be_made_from_the_zip_alone(unpacked: Path) -> None:
    assert tuple(json.loads(output_on(unpacked, MAKE_CLIENTS))) == SERVICES


def test_every_module_of_the_app_is_imported_from_the_zip_alone(unpacked: Path) -> None:
    output_on(unpacked, IMPORT_ALL)


def test_every_offsite_provider_is_in_the_zip(unpacked: Path) -> None:
    assert int(output_on(unpacked, LOAD_PROVIDERS)) > 30


def test_the_local_provider_works_from_the_zip_alone(unpacked: Path, tmp_path: Path) -> None:
    assert output_on(unpacked, PUT_LOCALLY, str(tmp_path)) == "content\n"


def test_the_local_cloud_runs_the_packaged_app() -> None:
    command = [sys.executable, "-P", "-c", PACKAGED_FILES]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "local")}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    function = PACKAGE / "function"
    assert ended.stdout.split() == [str(function / "app.py"), str(function / "chalicelib" / "__init__.py")]


def test_every_module_has_bytecode_that_the_runtime_takes_unchecked(unpacked: Path) -> None:
    modules = list(unpacked.rglob("*.py"))
    assert modules
    for module in modules:
        compiled = module.parent / "__pycache__" / f"{module.stem}.cpython-313.pyc"
        assert compiled.read_bytes()[:8] == MAGIC_OF_3_13 + UNCHECKED_HASH


def test_the_template_is_as_small_as_cloudformation_takes_from_a_bucket() -> None:
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
    assert (PACKAGE / "sam.json").stat().st_size <= 1_000_000


def test_the_zip_is_small_and_its_entries_have_one_time_and_mode() -> None:
    assert ZIP.stat().st_size <= LARGEST_BYTES
    with zipfile.ZipFile(ZIP) as archive:
        entries = archive.infolist()
    assert {(entry.date_time, entry.external_attr >> 16) for entry in entries} == {
        ((1980, 1, 1, 0, 0, 0), 0o100644)
    }
