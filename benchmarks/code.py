"""How long files and functions are, as a reader scrolls through them: blank lines and docstrings count."""

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

LONG_FILE = 250


@dataclass(frozen=True, slots=True)
class Length:
    """A file or a function, and its lines."""

    name: str
    lines: int


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long the things of one kind are."""

    count: int
    total: int
    median: float
    ninetieth: float
    longest: tuple[Length, ...]


def files(package: Path) -> list[Length]:
    """Measure the Python files of a package; empty ones are none."""
    return [
        Length(str(path.relative_to(package.parent)), len(text.splitlines()))
        for path in sources(package)
        if (text := path.read_text())
    ]


def functions(package: Path) -> list[Length]:
    """Measure every function of a package, from `def` to its last line; one inside another counts as well."""
    return [
        Length(
            f"{path.relative_to(package.parent)}:{node.name}",
            (node.end_lineno or node.lineno) - node.lineno + 1,
        )
        for path in sources(package)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def sources(package: Path) -> list[Path]:
    """List the Python files of a package."""
    return sorted(package.rglob("*.py"))


def sum_up(lengths: Sequence[Length], longest: int) -> Lengths:
    """Sum lengths up, with the `longest` ones by name."""
    lines = [each.lines for each in lengths]
    return Lengths(
        count=len(lines),
        total=sum(lines),
        median=median(lines),
        ninetieth=quantiles(lines, n=10, method="inclusive")[-1],
        longest=by_length(lengths)[:longest],
    )


def by_length(lengths: Iterable[Length]) -> tuple[Length, ...]:
    """Sort, the longest first."""
    return tuple(sorted(lengths, key=lambda each: (-each.lines, each.name)))


def long_files(package: Path) -> tuple[Length, ...]:
    """List the files above the house's length."""
    return by_length(each for each in files(package) if each.lines > LONG_FILE)
