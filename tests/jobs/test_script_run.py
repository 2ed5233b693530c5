"""What is decided of a script that runs once on one instance."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from chalicelib.aws.ssm import Command
from chalicelib.jobs.decision import Do, Fail, Wait
from chalicelib.jobs.job import AnyJob
from chalicelib.jobs.script_run import (
    AGENT_PATIENCE,
    LETTER_AGE,
    LETTER_PAUSE,
    OVERDUE,
    Adopt,
    Candidates,
    Choose,
    Ended,
    RunSeen,
    ScriptFailed,
    ScriptRun,
    Send,
    WriteLetter,
    adopted,
    decide_run,
    still_stopping,
)
from chalicelib.on_instance import RAN_BEFORE
from chalicelib.vaults.mailbox import LetterSeen
from tests.jobs.made import HOUR, NOON, copy_job, intended, point_in, said

CHOSEN = ScriptRun("i-1", letter=1, letter_at=NOON)
SENT = ScriptRun("i-1", "one", NOON, letter=1, letter_at=NOON + HOUR)
FRESH, TAKEN = LetterSeen("e1", taken=False), LetterSeen("e2", taken=True)


def _job(**more: Any) -> AnyJob:
    return copy_job(point_in("primary"), "object", None, **more)


def _decided(
    run: ScriptRun, seen: RunSeen, job: AnyJob | None = None, after: timedelta = timedelta(0)
) -> Any:
    return decide_run(job or _job(), run, seen, NOON + after, HOUR)


@pytest.mark.parametrize(
    ("candidates", "after", "expected"),
    [
        (
            Candidates(("i-2", "i-1"), frozenset({"i-1", "i-2"})),
            timedelta(0),
            Do(Choose("i-1"), "runs on i-1"),
        ),
        (Candidates(("i-2", "i-1"), frozenset({"i-2"})), timedelta(0), Do(Choose("i-2"), "runs on i-2")),
        (Candidates(("i-1",)), timedelta(0), Wait),
        (Candidates(), timedelta(0), Wait),
        (Candidates(("i-1",)), AGENT_PATIENCE, Fail),
        (Candidates(), AGENT_PATIENCE, Fail),
    ],
)
def test_an_instance_with_an_agent_is_chosen_or_waited_for(
    candidates: Candidates, after: timedelta, expected: Any
) -> None:
    decided = _decided(ScriptRun(), RunSeen(candidates), after=after)
    assert decided == expected if isinstance(expected, Do) else isinstance(decided, expected)


def test_the_script_is_sent_with_an_intent_and_the_instance_locked() -> None:
    assert _decided(ScriptRun("i-1"), RunSeen()).action == WriteLetter(1, None)
    do = _decided(CHOSEN, RunSeen(letter=FRESH))
    assert (do.action, do.intent, do.locks) == (Send(), "SendCommand", ("instance i-1",))


def test_a_command_that_may_have_been_sent_is_looked_for_and_adopted() -> None:
    job = _job(intent=intended("SendCommand"))
    assert isinstance(_decided(CHOSEN, RunSeen(), job), Wait)
    found = Command("one", NOON)
    assert _decided(CHOSEN, RunSeen(commands=(found,)), job).action == Adopt(found)
    older = Command("old", NOON - HOUR)
    assert isinstance(_decided(CHOSEN, RunSeen(commands=(older,)), job), Wait)
    assert _decided(CHOSEN, RunSeen(letter=FRESH), job, after=timedelta(minutes=3)).action == Send()


@pytest.mark.parametrize("run", [CHOSEN, SENT], ids=["before it is sent", "while it runs"])
@pytest.mark.parametrize(
    ("letter", "number", "replaces"),
    [(FRESH, 1, "e1"), (TAKEN, 2, None), (None, 1, None)],
    ids=["old", "taken", "deleted"],
)
def test_a_letter_is_written_that_is_fresh_and_not_taken(
    run: ScriptRun, letter: LetterSeen | None, number: int, replaces: str | None
) -> None:
    invocation = said("InProgress") if run.command else None
    at = (run.letter_at or NOON) - NOON
    for age in (LETTER_AGE, timedelta(0)):
        decided = _decided(run, RunSeen(invocation=invocation, letter=letter), after=at + age)
        if letter is FRESH and not age:
            assert decided == Wait(NOON + at + LETTER_AGE, "command one on i-1: InProgress") or (
                decided.action == Send()
            )
        else:
            assert decided.action == WriteLetter(number, replaces)


def test_a_letter_that_is_not_known_to_be_fresh_is_written_again() -> None:
    unsure = replace(SENT, letter_at=None)
    seen = RunSeen(invocation=said("InProgress"), letter=FRESH)
    assert _decided(unsure, seen).action == WriteLetter(1, "e1")


def test_a_mailbox_that_cannot_be_reached_is_tried_again_and_ends_no_run() -> None:
    unseen = RunSeen(invocation=said("InProgress"), refusal="HeadObject failed")
    decided = _decided(SENT, unseen, after=HOUR)
    assert (decided.until, "HeadObject failed" in decided.reason) == (NOON + HOUR + LETTER_PAUSE, True)
    refused = replace(SENT, refused_at=NOON + HOUR, refusal="PutObject failed")
    seen = RunSeen(invocation=said("InProgress"), letter=TAKEN)
    assert "PutObject failed" in _decided(refused, seen, after=HOUR).reason
    assert _decided(refused, seen, after=HOUR + LETTER_PAUSE).action == WriteLetter(2, None)
    gone = replace(unseen, instance_gone=True)
    assert isinstance(_decided(SENT, gone), ScriptFailed)


@pytest.mark.parametrize(
    ("seen", "after", "kind", "words"),
    [
        (RunSeen(invocation=said("InProgress"), letter=FRESH), HOUR, Wait, "InProgress"),
        (RunSeen(letter=FRESH), timedelta(0), Wait, "SSM does not show it yet"),
        (
            RunSeen(invocation=said("InProgress"), instance_gone=True),
            HOUR,
            ScriptFailed,
            "stopped or terminated",
        ),
        (
            RunSeen(instance_gone=True, how_gone="terminated"),
            timedelta(0),
            ScriptFailed,
            "i-1 was terminated",
        ),
        (RunSeen(invocation=said("InProgress")), HOUR + OVERDUE * 2, ScriptFailed, "has not ended"),
        (RunSeen(invocation=said("Success", 0)), HOUR, Ended, "out"),
        (RunSeen(invocation=said("Failed", 10)), HOUR, ScriptFailed, "the backup script failed"),
        (
            RunSeen(invocation=said("TimedOut", None, "Execution Timed Out")),
            HOUR,
            ScriptFailed,
            "its timeout of 1 hour",
        ),
        (RunSeen(invocation=said("TimedOut", None, "DeliveryTimedOut")), HOUR, ScriptFailed, "did not take"),
        (RunSeen(invocation=said("Cancelled")), HOUR, ScriptFailed, "SSM ended it as Cancelled"),
        (RunSeen(invocation=said("Failed", RAN_BEFORE)), HOUR, ScriptFailed, "left no result"),
    ],
)
def test_how_a_run_stands(seen: RunSeen, after: timedelta, kind: type, words: str) -> None:
    decided = _decided(SENT, seen, after=after)
    assert isinstance(decided, kind)
    assert words in str(decided)


def test_the_command_that_found_the_job_had_run_before_gives_way_to_the_one_that_ran() -> None:
    ran = Command("two", NOON)
    seen = RunSeen(commands=(Command("one", NOON), ran), invocation=said("Failed", RAN_BEFORE))
    action = _decided(SENT, seen).action
    assert action == Adopt(ran, refused="one")
    run = adopted(SENT, action)
    assert run == replace(SENT, command="two", refused=("one",))
    assert isinstance(_decided(run, seen), ScriptFailed)


@pytest.mark.parametrize(
    ("seen", "after", "waits"),
    [
        (RunSeen(invocation=said("InProgress")), timedelta(0), True),
        (RunSeen(invocation=said("Cancelling")), HOUR, True),
        (RunSeen(invocation=said("Cancelled")), timedelta(0), False),
        (RunSeen(invocation=said("Cancelling"), instance_gone=True), timedelta(0), False),
        (RunSeen(invocation=said("Cancelling")), HOUR + OVERDUE + timedelta(seconds=1), False),
        (RunSeen(), timedelta(0), True),
        (RunSeen(), HOUR, False),
    ],
)
def test_a_script_that_was_told_to_stop_is_waited_for(seen: RunSeen, after: timedelta, waits: bool) -> None:
    assert (still_stopping(SENT, seen, NOON + after, HOUR) is not None) is waits
    assert still_stopping(CHOSEN, seen, NOON + after, HOUR) is None
