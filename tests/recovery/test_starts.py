"""What a job that starts instances does next, and what it does once it has failed. Pure."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from chalicelib.aws.ec2 import Instance
from chalicelib.aws.ec2_launch import LaunchTemplate, Place
from chalicelib.catalog.store.rules import RuleId
from chalicelib.jobs.decision import Do, Fail, Finish, Wait
from chalicelib.jobs.job import ADOPTION_GRACE, AnyJob, Budget, JobState
from chalicelib.jobs.removal import Removal
from chalicelib.jobs.work import LaunchWork, StartWork, launch_request, start_request
from chalicelib.plans.launches import OnLaunch
from chalicelib.recovery.launch_progress import LaunchProgress
from chalicelib.recovery.start_progress import Call, StartProgress, StartSeen, next_call, token_of
from chalicelib.recovery.starts import LOOK, EndLaunches, Note, Open, Run, Start, StartWorld, Terminate
from tests.jobs.made import NONE, NOON, SECOND, Says, failed, intended, job_of

A, B, C = (Place(f"eu-central-1{letter}") for letter in "abc")
REGION = "eu-central-1"
ON_LAUNCH = OnLaunch(restore="r", required=True)


class Launching:
    """What is asked of EC2's launches here: where they are."""

    region = REGION


LAUNCHING: Any = Launching()
HANDLER = Start(StartWorld(NONE, LAUNCHING, NONE, NONE, NONE, "test", NONE))


def start_job(progress: StartProgress | None = None, **work: Any) -> AnyJob:
    """Return a job that starts instances for the service `s`."""
    wanted = {"count": 4, "places": (A, B, C), **work}
    request = start_request(
        "p",
        "s",
        StartWork(
            "rp", "primary", RuleId("r"), ON_LAUNCH, LaunchTemplate("lt", 1, "t3.micro"), tags={}, **wanted
        ),
        "key",
        NOON,
    )
    return job_of(request, progress or StartProgress())


def made(*ids: str, opened: bool = True, **more: Any) -> StartProgress:
    """Return the progress of a job that has started these instances in the first place."""
    number = len(ids) if opened else 0
    return StartProgress(1, dict.fromkeys(ids, A.zone), {0: len(ids)}, opened=number, **more)


def launch(instance: str, state: JobState = JobState.COMPLETED, reason: str = "it is done") -> AnyJob:
    """Return the launch of an instance, verified after 40 s if it has ended well."""
    request = launch_request("p", "s", LaunchWork(instance, ON_LAUNCH, NOON), "test")
    at = NOON + 40 * SECOND if state is JobState.COMPLETED else None
    return job_of(request, LaunchProgress(verified_at=at), state=state, reason=reason)


def seen(*launches: AnyJob) -> StartSeen:
    return StartSeen({each.work.instance_id: each for each in launches})


def instance(id: str) -> Instance:
    return Instance(id, "running", B.zone, {}, ())


@pytest.mark.parametrize(
    ("progress", "work", "expected"),
    [
        pytest.param(StartProgress(), {}, Call(0, 4), id="all in the first place"),
        pytest.param(StartProgress(full=(0,)), {}, Call(1, 4), id="the next one where that is full"),
        pytest.param(StartProgress(full=(0, 1, 2)), {}, None, id="none where all are full"),
        pytest.param(made("i-1", full=(0,)), {}, Call(1, 3), id="the rest where some were started"),
        pytest.param(made("i-1", "i-2", "i-3", "i-4"), {}, None, id="none when all are started"),
        pytest.param(made("i-1", refusal="a quota"), {}, None, id="none after a refusal"),
        pytest.param(StartProgress(at_once=2), {}, Call(0, 2), id="fewer at once after a limit"),
        pytest.param(StartProgress(), {"spread": True}, Call(0, 2), id="a share where they are spread"),
        pytest.param(made("i-1", "i-2"), {"spread": True}, Call(1, 1), id="the share of the second"),
        pytest.param(
            StartProgress(2, dict.fromkeys("abc", ""), {0: 2, 1: 1}),
            {"spread": True},
            Call(2, 1),
            id="the share of the last",
        ),
        pytest.param(
            StartProgress(2, dict.fromkeys("ab", ""), {0: 2}, full=(1,)),
            {"spread": True},
            Call(2, 2),
            id="the share of a full one goes to the others",
        ),
    ],
)
def test_the_next_call_goes_where_there_is_room(
    progress: StartProgress, work: dict[str, Any], expected: Call | None
) -> None:
    assert next_call(start_job(progress, **work)) == expected


def test_each_call_has_a_token_of_its_own_that_is_the_same_when_it_is_made_again() -> None:
    first, second = start_job(), start_job(StartProgress(calls=1))
    assert token_of(first) == token_of(start_job())
    assert token_of(first) != token_of(second)
    assert len(token_of(first)) <= 64


@pytest.mark.parametrize(
    ("job", "looked", "expected"),
    [
        pytest.param(
            start_job(),
            seen(),
            Do(
                Run(Call(0, 4)),
                Says("launching 4 t3.micro in eu-central-1a"),
                intent="RunInstances 0",
                budget=Budget("RunInstances", REGION, 4),
            ),
            id="launch",
        ),
        pytest.param(
            start_job(made("i-1", opened=False)),
            seen(),
            Do(Open(), Says("started 1 of 4")),
            id="open launches before the next call",
        ),
        pytest.param(
            start_job(made("i-1"), count=1),
            seen(launch("i-1", JobState.RUNNING)),
            Wait(NOON + LOOK, Says("1 launches are under way")),
            id="wait for launches",
        ),
        pytest.param(
            start_job(made("i-1"), count=1),
            seen(launch("i-1")),
            Finish(Says("started 1 of 1 instances of s: 1 in eu-central-1a; verified p50 40s p99 40s")),
            id="finish with the times",
        ),
        pytest.param(
            start_job(made("i-1", "i-2"), count=2),
            seen(launch("i-1"), launch("i-2", JobState.FAILED, "no agent")),
            Fail(Says("1 of 2 were not launched: i-2 (launch-")),
            id="fail when a launch has failed",
        ),
        pytest.param(
            start_job(made("i-1", refusal="VcpuLimitExceeded: 2")),
            seen(launch("i-1", JobState.RUNNING)),
            Wait(NOON + LOOK, Says("under way")),
            id="a quota lets the launches that there are go on",
        ),
        pytest.param(
            start_job(made("i-1", refusal="VcpuLimitExceeded: 2")),
            seen(launch("i-1")),
            Fail(Says("verified p50 40s p99 40s; VcpuLimitExceeded: 2")),
            id="fail at a quota with what was started",
        ),
        pytest.param(
            start_job(StartProgress(full=(0, 1, 2))),
            seen(),
            Fail(Says("EC2 has no room for 4 more t3.micro")),
            id="fail where there is no room",
        ),
    ],
)
def test_what_is_done_next(job: AnyJob, looked: StartSeen, expected: object) -> None:
    assert HANDLER.decide(job, looked, NOON) == expected


def cancelled(progress: StartProgress | None = None, **more: Any) -> AnyJob:
    return failed(start_job(progress, **more), "cancelled")


def removed(*ids: str) -> StartProgress:
    return made("i-1", "i-2", doomed=("i-2",), removal=Removal(removed=ids))


@pytest.mark.parametrize(
    ("job", "looked", "now", "expected"),
    [
        pytest.param(
            replace(cancelled(), intent=intended("RunInstances 0")),
            seen(),
            NOON,
            Wait(NOON + ADOPTION_GRACE, Says("RunInstances may have been called")),
            id="look for what a call may have launched",
        ),
        pytest.param(
            replace(cancelled(), intent=intended("RunInstances 0")),
            StartSeen(unheard=(instance("i-9"),)),
            NOON,
            Do(Note(StartProgress(made={"i-9": B.zone})), Says("noting")),
            id="record what it launched",
        ),
        pytest.param(
            replace(cancelled(), intent=intended("RunInstances 0")),
            seen(),
            NOON + ADOPTION_GRACE,
            Do(Note(StartProgress()), Says("noting")),
            id="it launched nothing",
        ),
        pytest.param(cancelled(), seen(), NOON, Finish("cancelled"), id="nothing was started"),
        pytest.param(
            cancelled(made("i-1")),
            seen(launch("i-1", JobState.RUNNING)),
            NOON,
            Do(EndLaunches((launch("i-1").id,)), Says("ending 1 launches")),
            id="end launches",
        ),
        pytest.param(
            cancelled(made("i-1", ended=True)),
            seen(launch("i-1", JobState.RUNNING)),
            NOON,
            Wait(NOON + LOOK, Says("waiting for 1 launches")),
            id="wait for them to end",
        ),
        pytest.param(
            cancelled(made("i-1", "i-2")),
            seen(launch("i-1"), launch("i-2", JobState.CANCELLED)),
            NOON,
            Finish("cancelled; not launched: i-2; they are kept"),
            id="keep what was started",
        ),
        pytest.param(
            cancelled(made("i-1", "i-2"), terminates=True),
            seen(launch("i-1"), launch("i-2", JobState.CANCELLED)),
            NOON,
            Do(Note(made("i-1", "i-2", doomed=("i-2",))), Says("terminating 1")),
            id="record what is to be terminated",
        ),
        pytest.param(
            cancelled(removed(), terminates=True),
            seen(launch("i-1"), launch("i-2", JobState.CANCELLED)),
            NOON,
            Do(
                Terminate(("i-2",)),
                Says("terminating 1"),
                budget=Budget("TerminateInstances", REGION),
            ),
            id="terminate it",
        ),
        pytest.param(
            cancelled(removed("i-2"), terminates=True),
            seen(launch("i-1"), launch("i-2", JobState.CANCELLED)),
            NOON,
            Finish(Says("they are terminated")),
            id="end when it is terminated",
        ),
    ],
)
def test_what_is_done_after_a_failure(
    job: AnyJob, looked: StartSeen, now: datetime, expected: object
) -> None:
    assert HANDLER.clean_up(job, looked, now) == expected


def test_what_was_to_be_terminated_and_is_not_is_left() -> None:
    assert HANDLER.leftovers(cancelled(removed(), terminates=True)) == ("i-2",)
    assert HANDLER.leftovers(cancelled(removed("i-2"), terminates=True)) == ()
