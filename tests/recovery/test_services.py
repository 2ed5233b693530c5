"""What a restore of a service decides. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.aws.ssm import Command
from chalicelib.catalog.recovery_point import Artefact, PointState, Segments, StoredFile
from chalicelib.catalog.store.rules import RuleId
from chalicelib.jobs.decision import Do, Fail, Finish, Wait
from chalicelib.jobs.job import ADOPTION_GRACE, AnyJob, JobKind, JobRequest, JobState
from chalicelib.jobs.removal import Removal
from chalicelib.jobs.script_run import (
    AGENT_LOOK,
    AGENT_PATIENCE,
    OVERDUE,
    Adopt,
    Candidates,
    Choose,
    Remove,
    RunSeen,
    ScriptRun,
    Send,
    WriteLetter,
)
from chalicelib.jobs.work import ServiceRestoreWork
from chalicelib.on_instance import RAN_BEFORE, RESTORE_FAILED, TRANSFER_FAILED, VERIFY_FAILED, WRONG_BYTES
from chalicelib.recovery.services import (
    BeginStaging,
    Check,
    NoteOutcome,
    ServiceRestore,
    ServiceRestoreObservation,
    ServiceRestoreProgress,
    StageSegments,
)
from chalicelib.recovery.staging import StagedFile
from chalicelib.vaults.layout import mailbox_folder
from chalicelib.vaults.mailbox import LetterSeen
from tests.jobs.made import (
    HOUR,
    LONG_AGO,
    MINUTE,
    NONE,
    NOON,
    SERVICE_RULE,
    Says,
    failed,
    intended,
    job_of,
    online,
    refused,
    said,
)

RESTORE = ServiceRestore(NONE, NONE, NONE, NONE, NONE, NONE, NONE)
VERIFIED = SERVICE_RULE.model_copy(update={"verify": "check"})
FILE = Artefact(
    "dr", PointState.AVAILABLE, StoredFile(key="f/data", etag="e", sha256=None, parts_sha256=None), "f/"
)
SEGMENTS = Artefact(
    "dr", PointState.AVAILABLE, Segments(segment_count=3, sha256=None, parts_sha256=None), "f/"
)
WHAT = "restore of rp-1 from dr onto i-1"

HALF = StagedFile("primary", "staging/x", "u1", done=2)
WHOLE = replace(HALF, done=3, whole=True)
STAGED = "staged primary:staging/x"
CHECKED: dict[str, Any] = {"checked": True}
CHOSEN: dict[str, Any] = {"checked": True, "run": ScriptRun("i-1")}
WRITTEN: dict[str, Any] = {"checked": True, "run": ScriptRun("i-1", letter=1, letter_at=NOON)}
RUN = ScriptRun("i-1", "cmd-1", NOON, letter=1, letter_at=NOON)
SENT: dict[str, Any] = {"checked": True, "run": RUN}
SENT_STAGED: dict[str, Any] = {"staging": WHOLE, "run": RUN}
FRESH = LetterSeen("e1", taken=False)
RESTORED = "farshore-restored 1\nbytes 1000\nverified no\nend\n"
PROVEN = RESTORED.replace("no", "yes")
DONE: dict[str, Any] = {**SENT_STAGED, "outcome": "restored"}
SENDING = Do(Send(), "sending the script to i-1", "SendCommand", locks=("instance i-1",))


def _job(progress: Mapping[str, Any], artefact: Artefact = FILE, **own: Any) -> AnyJob:
    work = ServiceRestoreWork("rp-1", "dr", "i-1", artefact, 1_000, RuleId("rule"), ("primary",))
    request = JobRequest(JobKind.RESTORE, "service", "s", "p", "r", NOON, ("rp-1",), work, "a test asks")
    return job_of(request, ServiceRestoreProgress(**progress), **own)


def _staged(progress: Mapping[str, Any], **own: Any) -> AnyJob:
    return _job(progress, SEGMENTS, **own)


def _seen(**run: Any) -> ServiceRestoreObservation:
    return ServiceRestoreObservation(SERVICE_RULE, RunSeen(**run))


MAILBOX = f"mailbox {mailbox_folder(_job({}).id)}"


@pytest.mark.parametrize(
    ("job", "seen", "expected"),
    [
        pytest.param(_job({}), _seen(), Do(Check(), "checking the object"), id="a whole object is checked"),
        pytest.param(
            _staged({}), _seen(), Do(BeginStaging(), "reading the manifest"), id="segments are to be staged"
        ),
        pytest.param(
            _staged({"staging": HALF}),
            _seen(),
            Do(StageSegments(), "assembling the segments"),
            id="some segments are staged",
        ),
        pytest.param(
            _staged({"checked": True}),
            _seen(),
            Do(BeginStaging(), "reading the manifest"),
            id="a check does not stand for staging",
        ),
        pytest.param(
            _job(CHECKED),
            _seen(candidates=Candidates(("i-1",), online("i-1"))),
            Do(Choose("i-1"), "runs on i-1"),
            id="the object is there",
        ),
        pytest.param(
            _staged({"staging": WHOLE}),
            _seen(candidates=Candidates(("i-1",), online("i-1"))),
            Do(Choose("i-1"), "runs on i-1"),
            id="the segments are one object",
        ),
        pytest.param(
            _job(CHOSEN),
            _seen(),
            Do(WriteLetter(1, None), "writing what the script may do"),
            id="the instance answers",
        ),
        pytest.param(_job(WRITTEN), _seen(letter=FRESH), SENDING, id="its first letter is written"),
        pytest.param(
            _job(SENT),
            _seen(invocation=said("Success", 0, stdout=RESTORED)),
            Do(
                NoteOutcome("restored 1,000 bytes onto i-1 (the rule has no verify script)", "err"),
                "the scripts have succeeded",
            ),
            id="the script has ended, unproven",
        ),
        pytest.param(
            _job(SENT),
            ServiceRestoreObservation(VERIFIED, RunSeen(invocation=said("Success", 0, stdout=PROVEN))),
            Do(
                NoteOutcome("restored 1,000 bytes onto i-1 and its verify script passed", "err"),
                Says("succeeded"),
            ),
            id="the scripts have ended, proven",
        ),
        pytest.param(
            _job({**SENT, "outcome": "restored", "removal": Removal(removed=(MAILBOX,))}),
            _seen(),
            Finish("restored"),
            id="nothing was staged",
        ),
        pytest.param(
            _staged(DONE),
            _seen(),
            Do(Remove((STAGED, MAILBOX)), "removing what the scripts were given"),
            id="what was staged goes, and the mailbox",
        ),
        pytest.param(
            _staged({**DONE, "removal": Removal(removed=(STAGED, MAILBOX))}),
            _seen(),
            Finish("restored"),
            id="what was staged is gone",
        ),
        pytest.param(
            _staged({**DONE, "removal": replace(refused(STAGED), removed=(MAILBOX,))}),
            _seen(),
            Wait(NOON + 2 * MINUTE, Says("restored; could not remove 1")),
            id="what was staged could not be removed",
        ),
        pytest.param(
            _staged({**DONE, "removal": replace(refused(STAGED, ago=HOUR), removed=(MAILBOX,), tries=5)}),
            _seen(),
            Finish(f"restored; left to the inventory, as it could not be removed: {STAGED}"),
            id="what was restored is restored, whatever cannot be removed",
        ),
        pytest.param(
            _staged({**DONE, "removal": replace(refused(STAGED, ago=HOUR), removed=(MAILBOX,))}),
            _seen(),
            Do(Remove((STAGED,)), "removing what the scripts were given"),
            id="it is tried again",
        ),
    ],
)
def test_the_way_forward(job: AnyJob, seen: ServiceRestoreObservation, expected: Any) -> None:
    assert RESTORE.decide(job, seen, NOON) == expected


@pytest.mark.parametrize(
    ("intent", "commands", "expected"),
    [
        pytest.param(
            intended("SendCommand"),
            (),
            Wait(NOON + ADOPTION_GRACE, Says("looking for its result")),
            id="it may not be visible yet",
        ),
        pytest.param(
            intended("SendCommand", ADOPTION_GRACE),
            (),
            Do(WriteLetter(1, None), "writing what the script may do"),
            id="it was not made",
        ),
        pytest.param(
            intended("SendCommand"),
            (Command("cmd-1", NOON),),
            Do(Adopt(Command("cmd-1", NOON)), Says("found the command sent before: cmd-1")),
            id="it was made",
        ),
        pytest.param(
            intended("SendCommand"),
            (Command("cmd-0", NOON - LONG_AGO),),
            Wait(NOON + ADOPTION_GRACE, Says("looking for its result")),
            id="a command older than the intent is not it",
        ),
    ],
)
def test_a_command_that_may_have_been_sent(intent: Any, commands: tuple[Command, ...], expected: Any) -> None:
    assert RESTORE.decide(_job(CHOSEN, intent=intent), _seen(commands=commands), NOON) == expected


@pytest.mark.parametrize(
    ("job", "seen", "after", "expected"),
    [
        pytest.param(
            _job(CHECKED),
            _seen(),
            AGENT_PATIENCE,
            Fail(Says(f"{WHAT}: waited 15 minutes for a running instance")),
            id="the instance does not run",
        ),
        pytest.param(
            _job(SENT),
            _seen(invocation=said("InProgress"), letter=FRESH),
            MINUTE,
            Wait(
                NOON + MINUTE + AGENT_LOOK,
                "the script runs on i-1 since 2026-11-01 12:00:00 UTC (command cmd-1)",
            ),
            id="the script runs",
        ),
        pytest.param(
            _job(SENT),
            _seen(invocation=said("InProgress")),
            HOUR + OVERDUE + MINUTE,
            Fail(Says(f"{WHAT}: SSM has not said how command cmd-1 ended")),
            id="SSM has lost the command",
        ),
        pytest.param(
            _job(SENT),
            _seen(invocation=said("InProgress"), instance_gone=True),
            MINUTE,
            Fail(f"{WHAT}: i-1 was stopped or terminated while command cmd-1 ran"),
            id="the instance is gone",
        ),
        *(
            pytest.param(
                _job(SENT),
                ServiceRestoreObservation(rule, RunSeen(invocation=said("Success", 0, stdout=stdout))),
                MINUTE,
                Fail(Says(f"{WHAT}: it ended with exit code 0, but did not report a restore; see in SSM")),
                id=name,
            )
            for name, rule, stdout in (
                ("nothing was restored", SERVICE_RULE, ""),
                ("not all was restored", SERVICE_RULE, RESTORED.replace("1000", "999")),
                ("something else was said", SERVICE_RULE, f"hello\n{RESTORED}"),
                ("nothing was verified", VERIFIED, RESTORED),
            )
        ),
        pytest.param(
            _job(SENT),
            _seen(invocation=said("Failed", RESTORE_FAILED)),
            MINUTE,
            Fail(f"{WHAT}: the restore script failed; its last words: err"),
            id="the restore script failed",
        ),
        pytest.param(
            _job(SENT),
            _seen(invocation=said("Failed", VERIFY_FAILED)),
            MINUTE,
            Fail(Says(f"{WHAT}: the restore script succeeded, but the verify script failed")),
            id="the verify script failed",
        ),
        pytest.param(
            _job(SENT),
            _seen(invocation=said("Failed", WRONG_BYTES)),
            MINUTE,
            Fail(Says(f"{WHAT}: dr:f/data: the instance did not get the bytes")),
            id="wrong bytes: the object is named",
        ),
        pytest.param(
            _staged(SENT_STAGED),
            _seen(invocation=said("Failed", TRANSFER_FAILED)),
            MINUTE,
            Fail(Says(f"{WHAT}: dr:f/: the transfer")),
            id="no bytes: the folder of segments is named",
        ),
        pytest.param(
            _job(SENT),
            _seen(invocation=said("Failed", RAN_BEFORE), commands=(Command("cmd-0", NOON),)),
            MINUTE,
            Do(Adopt(Command("cmd-0", NOON), refused="cmd-1"), Says("ran before, as command cmd-0")),
            id="sent twice: the one that ran is followed",
        ),
    ],
)
def test_how_the_scripts_fare(
    job: AnyJob, seen: ServiceRestoreObservation, after: Any, expected: Any
) -> None:
    assert RESTORE.decide(job, seen, NOON + after) == expected


CLEANING = "cleaning up after: it failed"
OVER = Finish(f"{WHAT}: it failed")
NOWHERE_ELSE = Finish(Says(f"{WHAT}: it failed; no other vault has this point; an older point may do"))


@pytest.mark.parametrize(
    ("job", "seen", "expected"),
    [
        pytest.param(_job({}), _seen(), NOWHERE_ELSE, id="nothing was begun"),
        pytest.param(_job(CHOSEN), _seen(), OVER, id="nothing was sent"),
        pytest.param(
            _job(CHOSEN, intent=intended("SendCommand")),
            _seen(commands=(Command("cmd-1", NOON),)),
            Do(Adopt(Command("cmd-1", NOON)), CLEANING),
            id="a command sent unseen is recorded before it is stopped",
        ),
        pytest.param(
            _staged({**SENT_STAGED, "run": ScriptRun("i-1")}, intent=intended("SendCommand")),
            _seen(),
            Wait(NOON + ADOPTION_GRACE, Says("looking for its result")),
            id="a command that may have been sent is looked for",
        ),
        pytest.param(
            _staged({**SENT_STAGED, "run": ScriptRun("i-1")}, intent=intended("SendCommand", LONG_AGO)),
            _seen(),
            Do(Remove((STAGED,)), CLEANING),
            id="a command that was not sent is not looked for any more",
        ),
        pytest.param(
            _staged({"staging": HALF}), _seen(), Do(Remove((STAGED,)), CLEANING), id="half is staged"
        ),
        pytest.param(
            _staged(SENT_STAGED),
            _seen(),
            Do(Remove(("command cmd-1", STAGED)), CLEANING),
            id="the script is stopped before its file goes",
        ),
        pytest.param(
            _staged({**SENT_STAGED, "removal": refused(STAGED)}),
            _seen(),
            Do(Remove(("command cmd-1",)), CLEANING),
            id="what was refused holds up nothing",
        ),
        pytest.param(
            _staged({"staging": WHOLE, "removal": refused(STAGED)}),
            _seen(),
            Wait(NOON + 2 * MINUTE, Says("it failed; could not remove 1 of what was made")),
            id="what was refused waits",
        ),
        pytest.param(
            _staged({"staging": WHOLE, "removal": refused(STAGED, ago=HOUR)}),
            _seen(),
            Do(Remove((STAGED,)), CLEANING),
            id="what was refused is tried again",
        ),
        pytest.param(
            _staged({**SENT_STAGED, "removal": Removal(removed=("command cmd-1", STAGED))}),
            _seen(invocation=said("Cancelling")),
            Wait(NOON + AGENT_LOOK, "it failed; command cmd-1 on i-1 is being stopped"),
            id="the script is being stopped",
        ),
        pytest.param(
            _staged({**SENT_STAGED, "removal": Removal(removed=("command cmd-1", STAGED))}),
            _seen(invocation=said("Cancelled")),
            Do(Remove((MAILBOX,)), CLEANING),
            id="the script has ended, and takes no letter any more",
        ),
        pytest.param(
            _staged({**SENT_STAGED, "removal": Removal(removed=("command cmd-1", STAGED, MAILBOX))}),
            _seen(invocation=said("Cancelled")),
            OVER,
            id="all is removed",
        ),
    ],
)
def test_cleaning_up(job: AnyJob, seen: ServiceRestoreObservation, expected: Any) -> None:
    assert RESTORE.clean_up(failed(job), seen, NOON) == expected


FROM_AZURE = (
    'the point is also in azure, primary: POST /restores {"recovery_point": "rp-1", "vault": "azure",'
    ' "target": {"instance_id": "i-1"}}'
)


@pytest.mark.parametrize("code", [WRONG_BYTES, TRANSFER_FAILED])
def test_a_file_that_cannot_be_had_is_told_with_the_vaults_that_have_it(code: int) -> None:
    seen = replace(_seen(invocation=said("Failed", code)), elsewhere=("azure", "primary"))
    decided = RESTORE.decide(_job(SENT), seen, NOON + MINUTE)
    assert isinstance(decided, Fail)
    assert decided.reason.startswith(f"{WHAT}: dr:f/data: ")
    assert decided.reason.endswith(f"; {FROM_AZURE}")


def test_a_vault_that_cannot_be_read_is_told_with_the_vaults_that_have_the_point() -> None:
    seen = replace(_seen(), elsewhere=("azure", "primary"))
    for job in (_job({}), _staged({}), _staged({"staging": HALF, "removal": Removal(removed=(STAGED,))})):
        finish = RESTORE.clean_up(failed(job, "checking failed on dr:f/data: it is not there"), seen, NOON)
        assert finish == Finish(f"{WHAT}: checking failed on dr:f/data: it is not there; {FROM_AZURE}")


def test_a_script_that_fails_is_not_told_with_other_vaults() -> None:
    seen = replace(_seen(invocation=said("Failed", RESTORE_FAILED)), elsewhere=("azure",))
    assert "azure" not in str(RESTORE.decide(_job(SENT), seen, NOON + MINUTE))
    assert "azure" not in str(
        RESTORE.clean_up(failed(_job(CHOSEN)), replace(_seen(), elsewhere=("azure",)), NOON)
    )


def test_a_restore_that_was_cancelled_is_not_told_with_other_vaults() -> None:
    job = failed(_job({}))
    assert job.failure is not None
    cancelled = replace(job, failure=replace(job.failure, outcome=JobState.CANCELLED))
    assert RESTORE.clean_up(cancelled, replace(_seen(), elsewhere=("azure",)), NOON) == OVER


def test_a_reason_that_names_the_restore_does_not_name_it_twice() -> None:
    finish = RESTORE.clean_up(failed(_job(CHOSEN), f"{WHAT}: the restore script failed"), _seen(), NOON)
    assert finish == Finish(f"{WHAT}: the restore script failed")


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        pytest.param({}, (), id="nothing was begun"),
        pytest.param(
            SENT_STAGED, ("command cmd-1", STAGED, MAILBOX), id="a command, what was staged, a mailbox"
        ),
        pytest.param(
            {**SENT_STAGED, "removal": Removal(removed=("command cmd-1",))},
            (STAGED, MAILBOX),
            id="what is not removed",
        ),
    ],
)
def test_what_is_left_is_named(progress: dict[str, Any], expected: tuple[str, ...]) -> None:
    job = failed(_staged(progress))
    assert RESTORE.leftovers(job) == expected
    assert RESTORE.abandon(job, NOON) == ()
