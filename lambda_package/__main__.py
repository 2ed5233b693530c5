"""`python -m lambda_package COMMAND TOOLS`: what the Makefile calls.

TOOLS is a folder that `make setup` makes. `download` fetches the wheels of the lock, `lock` pins anew what
requirements.txt asks for; these two need the network. `dependencies` and `package` build; they need none.
"""

import sys
from pathlib import Path

from lambda_package import build, wheels

_PROJECT = Path(__file__).parent.parent
_LOCK = _PROJECT / "requirements.lock"
_BUILD = _PROJECT / "build"


def main(command: str, folder: str) -> None:
    """Run one command."""
    tools = build.Tools(
        wheels=Path(folder, "wheels"),
        node=Path(sys.executable).with_name("node"),
        compiler=Path(folder, "compiler", "node_modules"),
    )
    match command:
        case "download":
            wheels.download(_LOCK, tools.wheels)
        case "lock":
            wheels.write_lock(_PROJECT / "requirements.txt", _LOCK)
        case "dependencies":
            build.build_dependencies(_LOCK, tools, _BUILD / "dependencies")
        case "package":
            build.build_package(_PROJECT, _BUILD / "dependencies", tools, _BUILD / "package")
        case _:
            sys.exit(f"there is no command {command}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except wheels.PackagingError as error:
        sys.exit(f"package: {error}")
