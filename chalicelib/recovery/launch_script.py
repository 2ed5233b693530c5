"""Runs the script that a plan has for instances that start: it configures them, nothing is transferred.

Invariant: it runs once on an instance, and its exit code of 0 is the proof.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from chalicelib.aws.ec2 import Ec2
from chalicelib.aws.ssm import Ssm
from chalicelib.catalog.store.writes import Write
from chalicelib.jobs.decision import Children, Cleaning, Decision, Fail, Finish, Step
from chalicelib.jobs.handler import Turn
from chalicelib.jobs.job import AnyRequest, Job, JobKind, JobRequest
from chalicelib.jobs.removal import Removal, remove
from chalicelib.jobs.script_run import (
    INTENT,
    Adopt,
    Choose,
    Ended,
    Machines,
    Remove,
    RunSeen,
    ScriptFailed,
    ScriptRun,
    Send,
    WriteLetter,
    advanced,
    clean_up_run,
    decide_run,
    observe_run,
    still_stopping,
)
from chalicelib.jobs.work import ScriptWork
from chalicelib.on_instance import ScriptsRun, are_run, scripts_command
from chalicelib.recovery.launch_progress import LaunchJob


@dataclass(frozen=True, slots=True)
class ScriptProgress:
    """How far it is: the run of the script, that it has ended well; and in cleaning, what was removed."""

    run: ScriptRun = field(default_factory=ScriptRun)
    removal: Removal = field(default_factory=Removal)


ScriptJob = Job[ScriptWork, ScriptProgress]
Action = Choose | WriteLetter | Send | Adopt | Remove


@dataclass(frozen=True, slots=True)
class LaunchScript:
    """Runs scripts of launches."""

    ec2: Ec2
    ssm: Ssm
    now: Callable[[], datetime]
    work = ScriptWork
    progress = ScriptProgress
    deadline = timedelta(hours=48)

    def observe(self, job: ScriptJob, children: Children) -> RunSeen:
        """Look only at what the job's next step depends on."""
        run = job.progress.run
        if job.failure is not None and job.intent is None and run.command is None:
            return RunSeen(has_mailbox=False)
        return observe_run(Machines(self.ssm, self.ec2), None, job, run, [job.work.instance_id])

    def decide(self, job: ScriptJob, seen: RunSeen, now: datetime) -> Decision[Action]:
        """Run the script and judge how it ended."""
        what = f"script for {job.work.instance_id}"
        match decide_run(job, job.progress.run, seen, now, job.work.timeout):
            case Ended(stdout=stdout):
                if not are_run(stdout, _run(job)):
                    why = "it ended with exit code 0, and does not say that it ran"
                    return Fail(f"{what}: {why}; see in SSM what command {job.progress.run.command} printed")
                return Finish(f"the launch script has configured {job.work.instance_id}")
            case ScriptFailed(reason=reason) | Fail(reason=reason):
                return Fail(f"{what}: {reason}")
            case step:
                return step

    def clean_up(self, job: ScriptJob, seen: RunSeen, now: datetime) -> Cleaning[Action]:
        """Stop the script, end."""
        stops = still_stopping(job.progress.run, seen, now, job.work.timeout)
        cleaning = clean_up_run(job, seen.commands, self.leftovers(job), stops, now)
        return cleaning or Finish(job.failure.reason if job.failure else job.reason)

    def act(self, job: ScriptJob, action: Action, turn: Turn) -> Step[ScriptProgress]:
        """Carry out one action."""
        progress = job.progress
        match action:
            case Choose() | Send() | Adopt():
                run, rest = advanced(job, progress.run, action, partial(self._send, job))
                return Step(replace(progress, run=run), rest=rest)
            case Remove(what=what):
                removal = remove(progress.removal, what, self._cancel, self.now())
                return Step(replace(progress, removal=removal))
            case WriteLetter():
                raise ValueError(f"{job.id} has no mailbox")

    def abandon(self, job: ScriptJob, now: datetime) -> tuple[Write, ...]:
        """Record nothing."""
        return ()

    def leftovers(self, job: ScriptJob) -> tuple[str, ...]:
        """Return the command, while it may still run."""
        command = job.progress.run.command
        return job.progress.removal.left_of((f"command {command}",) if command else ())

    def _cancel(self, what: str) -> None:
        self.ssm.cancel(what.removeprefix("command "))

    def _send(self, job: ScriptJob) -> str:
        return self.ssm.send(
            job.progress.run.instance or "",
            scripts_command(_run(job)),
            comment=job.mark(INTENT),
            timeout=job.work.timeout,
            working_directory=None,
        )


def _run(job: ScriptJob) -> ScriptsRun:
    return ScriptsRun(job.id, job.service, job.work.script, job.work.timeout, at_launch=True)


def script_request(job: LaunchJob) -> AnyRequest:
    """Return the child job that runs the script of a launch."""
    on_launch = job.work.on_launch
    return JobRequest(
        kind=JobKind.LAUNCH,
        method="script",
        service=job.service,
        plan=job.plan,
        rule="",
        nominal_at=job.nominal_at,
        key=(job.id, "script"),
        work=ScriptWork(job.work.instance_id, on_launch.script or "", on_launch.timeout),
        reason=f"script of {job.id} on {job.work.instance_id}",
    )
