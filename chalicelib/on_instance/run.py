"""One script, run once, on one instance through SSM: what a job of any kind needs for that.

SendCommand has no idempotency token. The intent is recorded, the command carries the job's id in its comment,
and the runner on the instance refuses a second run of one job: together they make it run exactly once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from chalicelib.aws.ec2 import Ec2
from chalicelib.aws.ssm import DELIVERY_TIMEOUT, Invocation, Ssm
from chalicelib.catalog.job import LOST_EVENT_AFTER, Do, Job, Wait, look_again, may_have_been_made
from chalicelib.on_instance import RAN_BEFORE, explain_exit, last_words
from chalicelib.plans.durations import render_duration

INTENT: Final = "SendCommand"
COMMENT_PREFIX: Final = "farshore "

# A fresh instance runs before its agent is online; normally for a minute or two
# (https://docs.aws.amazon.com/systems-manager/latest/userguide/troubleshooting-managed-instances.html).
AGENT_PATIENCE: Final = timedelta(minutes=15)
AGENT_LOOK: Final = timedelta(minutes=1)
# SSM ends a script by itself; past this it has lost the command.
OVERDUE: Final = DELIVERY_TIMEOUT + timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class RunSeen:
    """The commands sent under the job's comment, and how the one followed stands (None: SSM shows none
    yet)."""

    commands: tuple[str, ...] = ()
    invocation: Invocation | None = None
    instance_gone: bool = False


NOTHING_SEEN: Final = RunSeen()


@dataclass(frozen=True, slots=True)
class Candidates:
    """The instances a script could run on: those that run, and those of them whose SSM agent is online."""

    running: tuple[str, ...] = ()
    online: frozenset[str] = frozenset()


NO_CANDIDATES: Final = Candidates()


@dataclass(frozen=True, slots=True)
class Adopt:
    """Follow this command: it was sent for the job. `refused` is one that found the job had run before."""

    command: str
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Send the job's script."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The script has ended well; `stdout` is what it reports."""

    stdout: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The script ended badly, or will never answer; `exit_code` is None when it did not end by itself."""

    reason: str
    exit_code: int | None = None


def comment_of(job_id: str) -> str:
    """Return the comment under which the job's commands are sent."""
    return COMMENT_PREFIX + job_id


def job_of_comment(comment: str | None) -> str | None:
    """Return the job whose command carries `comment`; None for a command that is not ours."""
    return comment.removeprefix(COMMENT_PREFIX) if comment and comment.startswith(COMMENT_PREFIX) else None


def observe_run(ssm: Ssm, ec2: Ec2, job: Job) -> RunSeen:
    """Look for the job's command or, once it is known, at how it stands.

    While the command runs, its instance is looked at too: SSM tells of a terminated one only when the
    script's time is up.
    """
    if INTENT not in job.intents:
        return NOTHING_SEEN
    command = job.progress.get("command")
    invocation = ssm.invocation(command, job.progress["instance"]) if command else None
    found: tuple[str, ...] = ()
    if not command or (invocation and invocation.exit_code == RAN_BEFORE):
        found = ssm.commands_commented(comment_of(job.id), job.created_at - timedelta(minutes=1))
    running = invocation is not None and not invocation.finished
    gone = running and not ec2.instances_by_id([job.progress["instance"]])
    return RunSeen(found, invocation, gone)


def decide_run(
    job: Job, seen: RunSeen, now: datetime, timeout: timedelta
) -> Do[Send] | Do[Adopt] | Wait | Ended | Failed:
    """Return the next step of a run: send, adopt what was sent, wait, or how it ended. Pure."""
    command = job.progress.get("command")
    refused = set(job.progress.get("refused", ()))
    if not command:
        if seen.commands:
            return Do(Adopt(seen.commands[0]), f"found the command sent before: {seen.commands[0]}")
        if may_have_been_made(job, INTENT, now):
            return look_again(job, INTENT)
        return Do(Send(), f"sending the script to {job.progress['instance']}", INTENT)
    if seen.invocation is None or not seen.invocation.finished:
        if now > job.intents[INTENT] + timeout + OVERDUE:
            return Failed(f"command {command} has not ended {timeout + OVERDUE} after it was sent")
        if seen.instance_gone:
            return Failed(f"{job.progress['instance']} was terminated while command {command} ran")
        status = seen.invocation.status if seen.invocation else "not visible yet"
        pause = LOST_EVENT_AFTER if seen.invocation else AGENT_LOOK
        return Wait(now + pause, f"command {command} on {job.progress['instance']}: {status}")
    if seen.invocation.exit_code == RAN_BEFORE:
        others = [each for each in seen.commands if each != command and each not in refused]
        if others:
            return Do(Adopt(others[0], refused=command), f"the job ran before, as command {others[0]}")
        return Failed("the script of this job ran before and left no result")
    if seen.invocation.status == "Success":
        return Ended(seen.invocation.stdout)
    return Failed(why_it_failed(seen.invocation, timeout), seen.invocation.exit_code)


def find_candidates(ec2: Ec2, ssm: Ssm, wanted: Iterable[str]) -> Candidates:
    """Look which of the wanted instances run, and whose agents are online."""
    running = tuple(each.id for each in ec2.instances_by_id(wanted) if each.state == "running")
    return Candidates(running, ssm.online(running) if running else frozenset())


def choose_instance(job: Job, candidates: Candidates, now: datetime) -> Do[str] | Wait | Failed:
    """Choose where to run: the first running instance, by id, whose agent is online. Pure.

    Waits for an agent for `AGENT_PATIENCE` from the job's opening on.
    """
    there = sorted(candidates.running)
    for instance in there:
        if instance in candidates.online:
            return Do(instance, f"runs on {instance}")
    waited_for = f"the SSM agent of {', '.join(there)}" if there else "an instance that runs"
    if now < job.created_at + AGENT_PATIENCE:
        return Wait(now + AGENT_LOOK, f"waiting for {waited_for}")
    patience = render_duration(AGENT_PATIENCE)
    if not there:
        return Failed(f"no instance of it was running within {patience}")
    return Failed(
        f"{waited_for} was not online within {patience} (is the agent installed and running there, and has"
        " the instance's role the policy AmazonSSMManagedInstanceCore?)"
    )


def recorded(action: Adopt, job: Job) -> dict[str, object]:
    """Return the progress that an adoption makes."""
    refused = [*job.progress.get("refused", ()), *([action.refused] if action.refused else [])]
    return {"command": action.command, "refused": refused}


def why_it_failed(invocation: Invocation, timeout: timedelta) -> str:
    """Say in a line or two why a script failed: how it ended, and the end of what it said."""
    said = invocation.stderr.strip() or invocation.stdout.strip()
    how = (invocation.details or invocation.status).replace(" ", "")
    if how == "ExecutionTimedOut":
        return (
            f"it ran longer than its timeout of {render_duration(timeout)} and was stopped{last_words(said)}"
        )
    if how == "DeliveryTimedOut":
        return f"the SSM agent did not take the command within {render_duration(DELIVERY_TIMEOUT)}"
    if how == "Failed" and invocation.exit_code is not None:
        return explain_exit(invocation.exit_code, said)
    return f"SSM ended it as {how}{last_words(said)}"
