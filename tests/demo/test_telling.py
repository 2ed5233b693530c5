"""What the demo shows fits a terminal, and says where in the story it is."""

import io
from datetime import UTC, datetime

import pytest

from demo.claims import Claim
from demo.telling import COLUMNS, Teller

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.mark.parametrize("length", [1, 60, 62, 63, 300])
def test_every_line_fits_and_no_word_is_lost(length: int) -> None:
    out = io.StringIO()
    teller = Teller(out)
    words = [f"word{number:03d}" for number in range(length // 8 + 1)]
    teller.say(NOON, " ".join(words))
    teller.note(" ".join(words))
    teller.claim(Claim("a", False, " ".join(words)))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= COLUMNS
    assert sum(line.count("word") for line in lines) == 3 * len(words)
    assert lines[0].startswith("  11-30 12:00:00  word000")


def test_an_act_says_which_of_how_many_it_is() -> None:
    out = io.StringIO()
    Teller(out).act(2, "Plans are sent")
    assert out.getvalue() == "\n[2 of 6] Plans are sent\n"
