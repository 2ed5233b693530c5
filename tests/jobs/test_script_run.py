"""What is decided of a script that runs once on one instance."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from chalicelib.aws.ssm import Agent, Command, Invocation
from chalicelib.jobs.decision import Do, Fail, Wait
from chalicelib.jobs.job import AnyJob
from chalicelib.jobs.script_run import (
    AGENT_LOOK,
    AGENT_PATIENCE,
    FIRST_LOOK,
    LETTER_AGE,
    LETTER_PAUSE,
    OVERDUE,
    SHOWN_SOON,
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
    under_way,
)
from chalicelib.on_instance import RAN_BEFORE
from chalicelib.vaults.mailbox import LetterSeen
from tests.jobs.made import HOUR, NOON, copy_job, intended, online, point_in, said

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
            Candidates(("i-2", "i-1"), online("i-1", "i-2")),
            timedelta(0),
            Do(Choose("i-1"), "runs on i-1"),
        ),
        (Candidates(("i-2", "i-1"), online("i-2")), timedelta(0), Do(Choose("i-2"), "runs on i-2")),
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


OFFLINE = Agent(online=False, last_ping=NOON - HOUR)


@pytest.mark.parametrize(
    ("candidates", "said"),
    [
        pytest.param(
            Candidates((), {}, {"i-2": "gone", "i-1": "stopped"}),
            "a running instance: i-1 is stopped; i-2 is gone; start one",
            id="none runs",
        ),
        pytest.param(Candidates(), "a running instance: there is none; start one", id="there is none"),
        pytest.param(
            Candidates(("i-1",)),
            "the SSM agent of i-1, which has never registered (is the agent installed and running, does the"
            " instance's role have the policy AmazonSSMManagedInstanceCore, and can it reach SSM?)",
            id="the agent is missing",
        ),
        pytest.param(
            Candidates(("i-1",), {"i-1": OFFLINE}),
            "the SSM agent of i-1, which is offline since 2026-11-01 11:00 UTC (is the agent running,"
            " and can the"
            " instance reach SSM?)",
            id="the agent is offline",
        ),
        pytest.param(
            Candidates(tuple(f"i-{number}" for number in range(1, 9)), {"i-1": OFFLINE}),
            "the SSM agent of i-1, which is offline since 2026-11-01 11:00 UTC; i-2, which has never"
            " registered; "
            "i-3, which has never registered; i-4, which has never registered; i-5, which has never"
            " registered; "
            "and 3 more (is the agent installed",
            id="many",
        ),
    ],
)
def test_what_a_script_waits_for_is_told(candidates: Candidates, said: str) -> None:
    waits = _decided(ScriptRun(), RunSeen(candidates))
    fails = _decided(ScriptRun(), RunSeen(candidates), after=AGENT_PATIENCE)

    assert waits.reason.startswith(f"waiting for {said}")
    assert fails.reason.startswith(f"waited 15 minutes for {said}")


def test_a_run_that_was_just_sent_says_where_it_is_and_is_looked_for_soon() -> None:
    rest = under_way(SENT)
    assert rest.reason == (
        "the script waits in SSM since 2026-11-01 12:00:00 UTC; the agent of i-1 has not taken it yet"
        " (command one)"
    )
    assert rest.span == FIRST_LOOK
    assert _decided(SENT, RunSeen(letter=FRESH)).until == NOON + SHOWN_SOON
    runs = RunSeen(invocation=said("InProgress"), letter=FRESH)
    assert _decided(SENT, runs).until == NOON + FIRST_LOOK
    assert _decided(SENT, runs, after=HOUR).until == NOON + HOUR + AGENT_LOOK
    begun = replace(SENT, letter=2)
    assert _decided(begun, runs).until == NOON + AGENT_LOOK
    assert _decided(begun, runs, after=HOUR).until == NOON + HOUR + LETTER_AGE
    assert _decided(SENT, RunSeen(letter=FRESH), after=HOUR).until == NOON + HOUR + AGENT_LOOK


def test_a_time_out_is_told_with_the_last_words_and_what_to_do() -> None:
    stderr = "farshore: the time of this run is nearly up, and the backup script still runs\ntable 3 of 9\n"
    invocation = Invocation("TimedOut", "Execution Timed Out", None, "", stderr)
    failure = _decided(SENT, RunSeen(invocation=invocation))
    assert failure.reason == (
        "it ran longer than its timeout of 1 hour and was stopped; if it takes that long, raise `timeout` in"
        " the rule;"
        " its last words: table 3 of 9"
    )


def test_a_password_in_the_last_words_is_not_in_the_reason() -> None:
    stderr = "mysqldump -phunter2 orders: refused\nfarshore: backup script exited 2\n"
    failure = _decided(SENT, RunSeen(invocation=Invocation("Failed", "Failed", 10, "", stderr)))
    assert failure.reason == (
        "the backup script failed: backup script exited 2; its last words: mysqldump -p*** orders: refused"
    )


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
            assert decided == Wait(
                NOON + at + AGENT_LOOK, "the script runs on i-1 since 2026-11-01 12:00:00 UTC (command one)"
            ) or (decided.action == Send())
        else:
            assert decided.action == WriteLetter(number, replaces)


@pytest.mark.parametrize(
    ("run", "invocation", "expected"),
    [
        (ScriptRun("i-1"), None, Do),
        (ScriptRun("i-1", "one", NOON), None, Wait),
        (ScriptRun("i-1", "one", NOON), said("InProgress"), Wait),
    ],
)
def test_a_run_without_a_mailbox_gets_no_letter(
    run: ScriptRun, invocation: Invocation | None, expected: Any
) -> None:
    decided = _decided(run, RunSeen(invocation=invocation, has_mailbox=False), after=LETTER_AGE)
    assert isinstance(decided, expected)
    assert not isinstance(decided, Do) or decided.action == Send()


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
        (
            RunSeen(invocation=said("InProgress"), letter=FRESH, uploaded_bytes=123_456_789),
            HOUR,
            Wait,
            "the script runs on i-1 since 2026-11-01 12:00:00 UTC, 123,456,789 bytes are uploaded"
            " (command one)",
        ),
        (
            RunSeen(invocation=said("Pending"), letter=FRESH),
            HOUR,
            Wait,
            "the script waits in SSM since 2026-11-01 12:00:00 UTC; the agent of i-1 has not taken it yet"
            " (command one)",
        ),
        (RunSeen(letter=FRESH), timedelta(0), Wait, "the script waits in SSM since"),
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
        (
            RunSeen(invocation=said("InProgress")),
            HOUR + OVERDUE * 2,
            ScriptFailed,
            "SSM has not said how command one ended",
        ),
        (RunSeen(invocation=said("Success", 0)), HOUR, Ended, "out"),
        (RunSeen(invocation=said("Failed", 10)), HOUR, ScriptFailed, "the backup script failed"),
        (
            RunSeen(invocation=said("TimedOut", None, "Execution Timed Out")),
            HOUR,
            ScriptFailed,
            "its timeout of 1 hour",
        ),
        (RunSeen(invocation=said("TimedOut", None, "DeliveryTimedOut")), HOUR, ScriptFailed, "did not take"),
        (RunSeen(invocation=said("Cancelled")), HOUR, ScriptFailed, "somebody cancelled the command"),
        (
            RunSeen(invocation=said("Failed", RAN_BEFORE)),
            HOUR,
            ScriptFailed,
            "it is unknown how that ended",
        ),
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
