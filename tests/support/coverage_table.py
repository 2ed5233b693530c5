"""How much of each package of the app the tests ran: a table of what `coverage json` wrote to a file."""

import json
import sys
from collections import Counter
from pathlib import Path, PurePath
from typing import Any


def table(report: dict[str, Any]) -> list[str]:
    """Return a line for each package below `chalicelib`, for the modules beside them, and for the whole."""
    lines, run = Counter[str](), Counter[str]()
    for name, file in report["files"].items():
        package = PurePath(*PurePath(name).parts[:-1][:2]).as_posix()
        lines[package] += file["summary"]["num_statements"]
        run[package] += file["summary"]["covered_lines"]
    rows = [(package, run[package], lines[package]) for package in sorted(lines)]
    rows.append(("total", run.total(), lines.total()))
    return [f"{name:<28} {hit:>6} of {of:>6} {100 * hit / max(of, 1):>6.1f} %" for name, hit, of in rows]


if __name__ == "__main__":
    print("\n".join(table(json.loads(Path(sys.argv[1]).read_text()))))
