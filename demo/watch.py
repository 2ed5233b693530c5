"""Lets simulated time pass in small steps and shows what happens: events, jobs that begin and end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from demo.farshore import Document, Farshore, moment
from demo.ground import DemoCloud
from demo.listener import Heard, Listener
from demo.telling import Teller

STEP = timedelta(seconds=2)
PATIENCE = timedelta(minutes=30)
FINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED"})


class TooLongError(Exception):
    """Jobs did not end within the simulated time that they had."""


@dataclass(slots=True)
class Watch:
    """Shows each job and event once."""

    ground: DemoCloud
    farshore: Farshore
    listener: Listener
    teller: Teller
    jobs: dict[str, Document] = field(default_factory=dict)
    events: list[Heard] = field(default_factory=list)

    def until_done(self, since: datetime, look: Callable[[], None] = lambda: None) -> list[Document]:
        """Step until there are jobs created since then and all have ended; return them, newest first.

        `look` is called in each step.

        Raises:
            TooLongError: that takes too long.
        """

        def over(jobs: list[Document]) -> bool:
            look()
            return bool(jobs) and all(job["state"] in FINAL for job in jobs)

        return self.until(since, over)

    def until(self, since: datetime, over: Callable[[list[Document]], bool]) -> list[Document]:
        """Step until `over` says so of the jobs created since then; return them, newest first.

        Raises:
            TooLongError: that takes too long.
        """
        began = self.ground.now()
        while True:
            now = self.ground.advance(STEP)
            jobs = self._tell(since)
            if over(jobs):
                return jobs
            if now - began > PATIENCE:
                open_jobs = [f"{job['id']}: {job['reason']}" for job in jobs if job["state"] not in FINAL]
                raise TooLongError("; ".join(open_jobs) or "no job was opened")

    def until_over(self, job_id: str) -> Document:
        """Step until one job has ended, showing what it does and waits for; return it.

        Raises:
            TooLongError: that takes too long.
        """
        began, reason = self.ground.now(), ""
        while True:
            job = self.farshore.job(job_id)
            if job["reason"] != reason:
                reason = job["reason"]
                self.teller.say(moment(job["updated_at"]), f"{described(job)} {job['state']}: {reason}")
            if job["state"] in FINAL:
                return job
            if self.ground.advance(STEP) - began > PATIENCE:
                raise TooLongError(f"{job_id}: {reason}")

    def _tell(self, since: datetime) -> list[Document]:
        """Return what is new, in the order in which it happened."""
        new: list[tuple[datetime, str]] = []
        for heard in self.listener.heard():
            self.events.append(heard)
            if heard.text:
                new.append((heard.at, heard.text))
        jobs = self.farshore.jobs(since)
        for job in reversed(jobs):
            known = self.jobs.get(job["id"])
            self.jobs[job["id"]] = job
            if known is None:
                new.append((moment(job["created_at"]), f"{described(job)} opened"))
            if job["state"] in FINAL and (known is None or known["state"] != job["state"]):
                new.append((moment(job["updated_at"]), f"{described(job)} {job['state']}: {job['reason']}"))
        for at, text in sorted(new, key=lambda each: each[0]):
            self.teller.say(at, text)
        return jobs


def described(job: Document) -> str:
    """Return a job in a few words."""
    if job["kind"] == "inventory":
        return f"inventory of {job.get('region') or job.get('vault') or 'the catalog'}"
    into = {"copy": " into ", "restore": " from "}.get(job["kind"])
    vault = f"{into}{job['vault']}" if into and "vault" in job else ""
    rule = job["rule"] and f"/{job['rule']}"
    return f"{job['kind']} of {job['service']}{rule}{vault}"
