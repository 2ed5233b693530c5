"""The pages that people read: links lead somewhere, named tests exist, the README stays short."""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FENCED = re.compile(r"^( *)```.*?^\1```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
README_WORDS = 900


def pages() -> list[Path]:
    """Return every Markdown page of the checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, check=True
    )
    return [page for name in listed.stdout.decode().split() if (page := ROOT / name).exists()]


def prose_of(page: Path) -> str:
    """Return a page without its blocks of code."""
    return FENCED.sub("", page.read_text("utf-8"))


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    headings = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(prose_of(page)))
    return {heading.replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> Iterator[str]:
    """Yield the relative links of a page that lead to no file, or to no heading of it."""
    for link in LINK.findall(prose_of(page)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            yield link


@cache
def sources() -> dict[str, str]:
    """Return the text of every test file, by its path in the checkout."""
    files = [*ROOT.glob("tests/**/*.py"), *ROOT.glob("local/tests/**/*.py")]
    return {str(file.relative_to(ROOT)): file.read_text("utf-8") for file in files}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_to_a_file_and_a_heading_of_it(page: Path) -> None:
    assert list(broken_links(page)) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b`: c\n[ok](#a-b-c) [no](#d) [no](gone.md) [out](https://x.test)\n```\n[no](in-code)\n```\n"
    )
    assert list(broken_links(page)) == ["#d", "gone.md"]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    named = re.findall(r"`((?:tests|local/tests)/[\w/]+\.py|test_\w+)`", prose_of(page))
    found = sources()
    whole = "\n".join(found.values())
    assert [name for name in named if name not in found and f"def {name}(" not in whole] == []


def test_the_readme_is_read_in_a_few_minutes() -> None:
    assert len(prose_of(ROOT / "README.md").split()) <= README_WORDS
