"""Runs one script, once, on one instance through SSM, for jobs of any kind.

SendCommand has no idempotency token. The intent is recorded, the command carries the job's mark in its
comment, which nobody can change, and the runner on the instance refuses a second run of one job: together
they make it run exactly once. The run reads what it may do from letters in its mailbox; while it runs there
is always one fresh letter that it has not taken. The instance is locked from before the command is sent until
it has ended, also when it is stopped. A mailbox that cannot be reached for now does not end a run that is
under way: only the run knows whether it needs another letter, and reports it itself.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from chalicelib.aws.ec2 import Ec2, Instance
from chalicelib.aws.ssm import DELIVERY_TIMEOUT, Agent, Command, Invocation, Ssm
from chalicelib.errors import Conflict, FarshoreError
from chalicelib.jobs.claims import lock_of_instance
from chalicelib.jobs.decision import Do, Fail, Rest, Wait, look_again
from chalicelib.jobs.job import (
    ADOPTION_GRACE,
    CLOCK_SKEW,
    AnyJob,
    began_after_intent,
    may_have_been_made,
)
from chalicelib.on_instance import RAN_BEFORE, explain_exit, last_words, words_of
from chalicelib.plans.durations import in_words
from chalicelib.vaults.layout import mailbox_folder
from chalicelib.vaults.mailbox import LetterSeen, Mailbox

INTENT: Final = "SendCommand"

# A fresh instance runs before its agent is online, normally for a minute or two
# (https://docs.aws.amazon.com/systems-manager/latest/userguide/troubleshooting-managed-instances.html).
AGENT_PATIENCE: Final = timedelta(minutes=15)
AGENT_LOOK: Final = timedelta(minutes=1)
# SSM ends a script by itself; after this time it has lost the command.
OVERDUE: Final = DELIVERY_TIMEOUT + timedelta(minutes=5)
# How often a running script's mailbox is checked. A letter that was not taken is written again by then, so
# that the URLs in it are valid for minutes when it is taken.
LETTER_AGE: Final = timedelta(minutes=4)
# How soon a run is checked after it was sent, and again in its first minute until it has taken its first
# letter, which is the smallest.
FIRST_LOOK: Final = timedelta(seconds=10)
# How soon a command that SSM does not show is looked for again, in its first minute.
SHOWN_SOON: Final = timedelta(seconds=5)
# How many instances a reason names.
NAMED: Final = 5
# When a letter that could not be written is tried again.
LETTER_PAUSE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class ScriptRun:
    """A run as a job records it.

    The instance, the command that is followed and when it was sent, commands that found the job had run
    before, the last lines of the scripts' output once they succeeded, the last letter to the run and when it
    was written (None: to be written again), and when the mailbox could not be written to, and why.
    """

    instance: str | None = None
    command: str | None = None
    sent_at: datetime | None = None
    refused: tuple[str, ...] = ()
    said: str = ""
    letter: int = 0
    letter_at: datetime | None = None
    refused_at: datetime | None = None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Candidates:
    """The instances a script could run on: running ones, SSM agents among them, states of the others.

    Only agents that have registered are listed; a state is `stopped`, ..., or `gone`.
    """

    running: tuple[str, ...] = ()
    agents: Mapping[str, Agent] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunSeen:
    """What SSM and EC2 show of a run.

    Instances to choose from, commands that may be the job's, the state of the one that is followed (None: SSM
    does not show it yet), whether and how its instance ended meanwhile, the last letter (a run without
    `has_mailbox` gets none), and how many bytes are uploaded (None: not checked).
    """

    candidates: Candidates = field(default_factory=Candidates)
    commands: tuple[Command, ...] = ()
    invocation: Invocation | None = None
    instance_gone: bool = False
    how_gone: str = "stopped or terminated"
    letter: LetterSeen | None = None
    refusal: str = ""
    uploaded_bytes: int | None = None
    has_mailbox: bool = True


@dataclass(frozen=True, slots=True)
class Choose:
    """Choose the instance."""

    instance: str


@dataclass(frozen=True, slots=True)
class WriteLetter:
    """Write a letter to the run, in place of the one whose ETag is `replaces`, or of none."""

    number: int
    replaces: str | None


@dataclass(frozen=True, slots=True)
class Send:
    """Send the job's script."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """Follow this command, which was sent for the job; `refused` is one that found the job had run before."""

    command: Command
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Remove:
    """Stop the script, remove what the job made for it and the mailbox, as far as they are named."""

    what: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """The script has succeeded: the runner's report, and the last lines of the script's output."""

    stdout: str
    said: str = ""


@dataclass(frozen=True, slots=True)
class ScriptFailed:
    """The script failed, or will never answer; `exit_code` is None when it did not end by itself."""

    reason: str
    exit_code: int | None = None


RunAction = Choose | WriteLetter | Send | Adopt


@dataclass(frozen=True, slots=True)
class Machines:
    """The services in which runs are observed."""

    ssm: Ssm
    ec2: Ec2


def observe_run(
    machines: Machines, mailbox: Mailbox | None, job: AnyJob, run: ScriptRun, wanted: Iterable[str]
) -> RunSeen:
    """Return the instances, then the job's commands or the state of the known one, and the `mailbox`; None:
    the run has none, or is being cleaned up after.

    While the command runs, its instance is checked too: SSM reports a terminated one only when the script's
    time is up.
    """
    ssm, ec2 = machines.ssm, machines.ec2
    has_mailbox = mailbox is not None
    if run.instance is None:
        states = dict.fromkeys(wanted, "gone")
        states |= {each.id: each.state for each in ec2.instances_by_id(states)}
        running = tuple(instance for instance, state in states.items() if state == "running")
        others = {instance: state for instance, state in states.items() if state != "running"}
        return RunSeen(Candidates(running, ssm.agents(running) if running else {}, others))
    if run.command is None:
        commands = _commands(ssm, job) if job.intent is not None else ()
        return RunSeen(commands=commands, letter=_last_letter(mailbox, run), has_mailbox=has_mailbox)
    invocation = ssm.invocation(run.command, run.instance)
    ran_before = invocation is not None and invocation.exit_code == RAN_BEFORE
    commands = _commands(ssm, job) if ran_before else ()
    seen = RunSeen(commands=commands, invocation=invocation, has_mailbox=has_mailbox)
    if invocation is not None and invocation.finished:
        return seen
    try:
        seen = replace(seen, letter=_last_letter(mailbox, run))
    except FarshoreError as refusal:
        seen = replace(seen, refusal=str(refusal))
    how = _how_it_went(run, ec2.instances_by_id([run.instance]))
    return replace(seen, instance_gone=True, how_gone=how) if how else seen


def _how_it_went(run: ScriptRun, found: Iterable[Instance]) -> str | None:
    """Return how the run's instance ended since the script was sent; None: it still runs."""
    instance = next(iter(found), None)
    if instance is None:
        return "terminated"
    if instance.launched_at and run.sent_at and instance.launched_at > run.sent_at + CLOCK_SKEW:
        return "stopped and started again"
    return None if instance.state == "running" else "stopped"


def _last_letter(mailbox: Mailbox | None, run: ScriptRun) -> LetterSeen | None:
    return mailbox.look(run.letter) if mailbox is not None and run.letter else None


def _commands(ssm: Ssm, job: AnyJob) -> tuple[Command, ...]:
    return ssm.commands_commented(job.mark(INTENT), job.created_at - timedelta(minutes=1))


def decide_run(
    job: AnyJob, run: ScriptRun, seen: RunSeen, now: datetime, timeout: timedelta
) -> Do[RunAction] | Wait | Ended | ScriptFailed | Fail:
    """Return the next step of a run: choose, send, adopt what was sent, wait, or how it ended. Pure."""
    if run.instance is None:
        return _decide_instance(job, seen.candidates, now)
    if run.command is None:
        return _decide_send(job, run, seen, now)
    if seen.invocation is None or not seen.invocation.finished:
        return _decide_unfinished(run, seen, now, timeout)
    if seen.invocation.exit_code == RAN_BEFORE:
        others = [each for each in seen.commands if each.id not in (run.command, *run.refused)]
        if others:
            return Do(Adopt(others[0], refused=run.command), f"the job ran before, as command {others[0].id}")
        return ScriptFailed(
            f"the script of this job ran before on {run.instance}, and it is unknown how that"
            " ended; what it may have left there is not used as a result"
        )
    if seen.invocation.status == "Success":
        return Ended(seen.invocation.stdout, words_of(seen.invocation.stderr))
    return ScriptFailed(why_it_failed(seen.invocation, timeout), seen.invocation.exit_code)


def _decide_send(job: AnyJob, run: ScriptRun, seen: RunSeen, now: datetime) -> Do[RunAction] | Wait:
    found = [each for each in seen.commands if began_after_intent(job, each.sent_at)]
    if found:
        return Do(Adopt(found[0]), f"found the command sent before: {found[0].id}")
    if may_have_been_made(job, now):
        return look_again(job, INTENT)
    if due := _letter_due(run, seen, now):
        return Do(due, "writing what the script may do")
    return Do(
        Send(),
        f"sending the script to {run.instance}",
        intent=INTENT,
        locks=(lock_of_instance(run.instance or ""),),
    )


def _letter_due(run: ScriptRun, seen: RunSeen, now: datetime) -> WriteLetter | None:
    """Return the letter to write: the next one when the last was taken, the last one again when it is old."""
    if not seen.has_mailbox or seen.refusal:
        return None
    if run.refused_at is not None and now < run.refused_at + LETTER_PAUSE:
        return None
    if run.letter == 0:
        return WriteLetter(1, None)
    if seen.letter is None:
        return WriteLetter(run.letter, None)
    if seen.letter.taken:
        return WriteLetter(run.letter + 1, None)
    if run.letter_at is None or now >= run.letter_at + LETTER_AGE:
        return WriteLetter(run.letter, seen.letter.etag)
    return None


def wrote(
    mailbox: Mailbox, run: ScriptRun, letter: WriteLetter, text: Callable[[], str], now: datetime
) -> ScriptRun:
    """Write a letter; return the run with it.

    A letter that was taken meanwhile is checked again; an error while a run is under way is recorded.
    """
    at: datetime | None = now
    try:
        mailbox.write(letter.number, text(), letter.replaces)
    except Conflict:
        at = None
    except FarshoreError as refusal:
        if run.command is None:
            raise
        return replace(run, refused_at=now, refusal=str(refusal))
    return replace(run, letter=letter.number, letter_at=at, refused_at=None, refusal="")


def _decide_unfinished(
    run: ScriptRun, seen: RunSeen, now: datetime, timeout: timedelta
) -> Do[RunAction] | Wait | ScriptFailed:
    if run.sent_at is not None and now > run.sent_at + timeout + OVERDUE:
        return ScriptFailed(
            f"SSM has not said how command {run.command} ended, {in_words(timeout + OVERDUE)} after it was"
            f" sent; check whether the script still runs on {run.instance}"
        )
    if seen.instance_gone:
        return ScriptFailed(f"{run.instance} was {seen.how_gone} while command {run.command} ran")
    if due := _letter_due(run, seen, now):
        return Do(due, f"{_how_it_stands(run, seen)}; writing letter {due.number} to it")
    pause = _pause(run, seen, now)
    said = _how_it_stands(run, seen)
    if refusal := seen.refusal or run.refusal:
        pause, said = LETTER_PAUSE, f"{said}; no letter can be written to it now: {refusal}"
    return Wait(now + pause, said)


def _pause(run: ScriptRun, seen: RunSeen, now: datetime) -> timedelta:
    """Return how soon to check a run again, in addition to the event at its end: soon while it is young, or
    has not begun."""
    young = run.sent_at is None or now < run.sent_at + AGENT_LOOK
    if seen.invocation is None:
        return SHOWN_SOON if young else AGENT_LOOK
    if run.letter == 1:
        return FIRST_LOOK if young else AGENT_LOOK
    return AGENT_LOOK if young else LETTER_AGE


def _how_it_stands(run: ScriptRun, seen: RunSeen) -> str:
    """Return in words what a script that has not ended is doing."""
    since = f" since {run.sent_at:%Y-%m-%d %H:%M:%S} UTC" if run.sent_at else ""
    command = f"command {run.command}"
    if seen.invocation is None or seen.invocation.status in ("Pending", "Delayed"):
        return f"the script waits in SSM{since}; the agent of {run.instance} has not taken it yet ({command})"
    if seen.invocation.status == "Cancelling":
        return f"the script on {run.instance} is being stopped ({command})"
    uploaded = "" if seen.uploaded_bytes is None else f", {seen.uploaded_bytes:,} bytes are uploaded"
    return f"the script runs on {run.instance}{since}{uploaded} ({command})"


def still_stopping(run: ScriptRun, seen: RunSeen, now: datetime, timeout: timedelta) -> Wait | None:
    """Return a wait while a script that was told to stop may still run; an answered cancel is no end. Pure.

    None once it has ended, its instance is gone, or SSM has lost it.
    """
    if run.command is None or run.sent_at is None or seen.instance_gone:
        return None
    shown_by = run.sent_at + ADOPTION_GRACE
    lost_at = shown_by if seen.invocation is None else run.sent_at + timeout + OVERDUE
    if now > lost_at or (seen.invocation is not None and seen.invocation.finished):
        return None
    return Wait(now + AGENT_LOOK, f"command {run.command} on {run.instance} is being stopped")


def mailbox_names(job: AnyJob) -> tuple[str, ...]:
    """Return the mailbox as one word and its folder, once there is a letter in it. Pure."""
    return (f"mailbox {mailbox_folder(job.id)}",) if job.progress.run.letter else ()


def clean_up_run(
    job: AnyJob, commands: Sequence[Command], made: Iterable[str], stops: Wait | None, now: datetime
) -> Do[Adopt | Remove] | Wait | None:
    """Return the next step of cleaning up after a run, None when all is done. Pure.

    Follow a command whose answer was lost, remove what was `made`, wait while the script `stops`, then remove
    the mailbox, when nobody takes a letter any longer.
    """
    reason = job.failure.reason if job.failure else job.reason
    if job.intent is not None and job.intent.name == INTENT:
        if commands:
            return Do(Adopt(commands[0]), f"cleaning up after: {reason}")
        if may_have_been_made(job, now):
            return look_again(job, INTENT)
    due = job.progress.removal.due(made, now)
    if not due:
        due = stops or job.progress.removal.due(mailbox_names(job), now)
    if isinstance(due, Wait):
        return replace(due, reason=f"{reason}; {due.reason}")
    return Do(Remove(due), f"cleaning up after: {reason}") if due else None


def _decide_instance(job: AnyJob, candidates: Candidates, now: datetime) -> Do[RunAction] | Wait | Fail:
    """Choose the first running instance, by id, whose agent is online.

    Waits for an agent for `AGENT_PATIENCE` after the job was opened.
    """
    there = sorted(candidates.running)
    for instance in there:
        agent = candidates.agents.get(instance)
        if agent is not None and agent.online:
            return Do(Choose(instance), f"runs on {instance}")
    why = no_agent(there, candidates.agents) if there else _none_runs(candidates.others)
    if now < job.created_at + AGENT_PATIENCE:
        return Wait(now + AGENT_LOOK, f"waiting for {why}")
    return Fail(f"waited {in_words(AGENT_PATIENCE)} for {why}")


def _none_runs(others: Mapping[str, str]) -> str:
    states = _listed([f"{instance} is {state}" for instance, state in sorted(others.items())])
    return f"a running instance: {states or 'there is none'}; start one"


def no_agent(running: Sequence[str], agents: Mapping[str, Agent]) -> str:
    """Return the agents that a script waits for, and whether each is missing or offline."""
    how = []
    for instance in running:
        agent = agents.get(instance)
        if agent is None:
            how.append(f"{instance}, which has never registered")
        else:
            last = f" since {agent.last_ping:%Y-%m-%d %H:%M} UTC" if agent.last_ping else ""
            how.append(f"{instance}, which is offline{last}")
    asks = (
        "is the agent installed and running, does the instance's role have the policy"
        " AmazonSSMManagedInstanceCore, and can it reach SSM?"
        if any(instance not in agents for instance in running)
        else "is the agent running, and can the instance reach SSM?"
    )
    return f"the SSM agent of {_listed(how)} ({asks})"


def _listed(each: Sequence[str]) -> str:
    shown = "; ".join(each[:NAMED])
    return f"{shown}; and {len(each) - NAMED} more" if len(each) > NAMED else shown


def advanced(
    job: AnyJob, run: ScriptRun, action: Choose | Send | Adopt, send: Callable[[], str]
) -> tuple[ScriptRun, Rest | None]:
    """Carry out one action of a run; return the run after it, and the rest that follows. `send` sends the
    command and returns its id."""
    match action:
        case Choose(instance=instance):
            return replace(run, instance=instance), None
        case Adopt():
            return adopted(run, action), None
        case Send():
            sent_at = job.intent.at if job.intent else job.updated_at
            sent = replace(run, command=send(), sent_at=sent_at)
            return sent, under_way(sent)


def under_way(run: ScriptRun) -> Rest:
    """Return the rest after the command is sent, until its state can have changed."""
    return Rest(_how_it_stands(run, RunSeen()), FIRST_LOOK)


def adopted(run: ScriptRun, action: Adopt) -> ScriptRun:
    """Return the run that follows the adopted command."""
    refused = (*run.refused, *((action.refused,) if action.refused else ()))
    return replace(
        run, command=action.command.id, sent_at=run.sent_at or action.command.sent_at, refused=refused
    )


def why_it_failed(invocation: Invocation, timeout: timedelta) -> str:
    """Return in a line or two why a script failed: how it ended, and the last lines of its output."""
    said = invocation.stderr.strip() or invocation.stdout.strip()
    how = (invocation.details or invocation.status).replace(" ", "")
    if how == "ExecutionTimedOut":
        return (
            f"it ran longer than its timeout of {in_words(timeout)} and was stopped; if it takes"
            f" that long, raise `timeout` in the rule{last_words(said)}"
        )
    if how == "DeliveryTimedOut":
        return (
            f"the SSM agent did not take the command within {in_words(DELIVERY_TIMEOUT)}; is the"
            " instance overloaded, or the agent hung?"
        )
    if how == "Cancelled":
        return f"somebody cancelled the command in SSM{last_words(said)}"
    if how == "Failed" and invocation.exit_code is not None:
        return explain_exit(invocation.exit_code, said)
    return f"SSM ended it as {how}{last_words(said)}"
