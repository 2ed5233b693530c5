"""Builds `build/package` in two steps: the dependencies, which seldom change, and the app on top of them.

Chalice writes the template; its own zip, which has the wheels of the packaging machine, is not used.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chalice.app

from lambda_package.archive import write_zip
from lambda_package.bytecode import compile_modules
from lambda_package.compiled_modules import find_faults
from lambda_package.target import ARCHITECTURE, RUNTIME
from lambda_package.wheels import PackagingError, locked_wheels, unpack

_STAGE = "prod"
_CHALICE = Path(chalice.app.__file__).parent
# What Chalice's own packager takes of Chalice.
_CHALICE_RUNTIME = ("__init__.py", "app.py")


@dataclass(frozen=True, slots=True)
class Tools:
    """What `make setup` has laid down: the wheels, Node, the folder of the compiler."""

    wheels: Path
    node: Path
    compiler: Path


def build_dependencies(lock: Path, tools: Tools, folder: Path) -> None:
    """Make a folder of what the app imports, compiled.

    Raises:
        PackagingError: a wheel is missing, or is not for the functions' platform.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for wheel in locked_wheels(lock, tools.wheels):
        unpack(wheel, folder)
    if faults := find_faults(folder):
        raise PackagingError("\n".join(["these files are not for the functions:", *faults]))
    compile_modules(folder, node=tools.node, compiler=tools.compiler)


def build_package(project: Path, dependencies: Path, tools: Tools, target: Path) -> None:
    """Make the template, the zip, and `function`: the folder that Lambda will unpack the zip to."""
    function = target / "function"
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=dependencies.parent) as scratch:
        app = Path(scratch, "app")
        copy_app(project, app)
        compile_modules(app, node=tools.node, compiler=tools.compiler)
        for part in (dependencies, app):
            shutil.copytree(part, function, copy_function=os.link, dirs_exist_ok=True)
        template = chalice_template(project, Path(scratch, "project"))
    if faults := find_faults(function):
        raise PackagingError("\n".join(["these files are not for the functions:", *faults]))
    write_zip(function, target / "deployment.zip")
    (target / "sam.json").write_text(json.dumps(template, indent=2, sort_keys=True) + "\n")


def copy_app(project: Path, folder: Path) -> None:
    """Copy what is ours, and Chalice's runtime."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(project / "chalicelib", folder / "chalicelib", ignore=ignore)
    shutil.copy(project / "app.py", folder)
    (folder / "chalice").mkdir()
    for name in _CHALICE_RUNTIME:
        shutil.copy(_CHALICE / name, folder / "chalice")


def chalice_template(project: Path, scratch: Path) -> dict[str, Any]:
    """Return Chalice's template, for the platform of the functions.

    `scratch` becomes a project without requirements, so that Chalice looks for no wheels. Chalice asks for a
    region; nothing in the template depends on it.
    """
    scratch.mkdir()
    for name in ("app.py", "chalicelib"):
        (scratch / name).symlink_to(project / name)
    shutil.copytree(project / ".chalice", scratch / ".chalice", ignore=shutil.ignore_patterns("deployments"))
    merged = str(scratch / ".chalice" / "resources.json")
    chalice_command = str(Path(sys.executable).with_name("chalice"))
    command = [chalice_command, "package", "--stage", _STAGE, "--merge-template", merged, "out"]
    environment = {**os.environ, "AWS_DEFAULT_REGION": "us-east-1"}
    ended = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise PackagingError(f"Chalice could not write the template: {ended.stdout}{ended.stderr}")
    template: dict[str, Any] = json.loads((scratch / "out" / "sam.json").read_text())
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"] |= {"Runtime": RUNTIME, "Architectures": [ARCHITECTURE]}
    return template
