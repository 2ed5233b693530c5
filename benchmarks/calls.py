"""How many AWS calls each kind of work makes, counted on the local cloud: the same numbers on every machine.

A call of the worker belongs to the job whose lease it took or kept last, since it works off one job after
another. While one job is under way, the calls of the completions function, and those an instance makes
through presigned URLs, are that job's too.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from wsgiref.types import WSGIEnvironment

from local_cloud.cloud import Cloud
from local_cloud.lambda_.functions import FUNCTION_KEY
from local_cloud.recognise import Target
from local_cloud.wire import parse
from stage import DR_REGION
from tests.support.deployment import Deployment, Document
from tests.support.farshore import BEGIN, cold_functions, fresh_stage

Calls = Counter[str]
"""How many, by service:operation."""
WORKERS, HELPERS = ("AdvanceJobs", "AdvanceDeletions"), ("Completions", "instance")
TICK = timedelta(minutes=5)
NEVER = "cron(0 0 1 1 ? 2199)"
SCRIPTS = {
    "script": 'head -c 1000000 /dev/zero > "$2"',
    "restore": "cat > restored",
    "verify": "test -s restored",
}


@dataclass
class Ledger:
    """Calls by who made them: a function, `instance`, or for a worker the job it was at."""

    calls: dict[str, Calls] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)

    def see(self, target: Target, environ: WSGIEnvironment, function: str | None) -> None:
        """Enter a call; what is not signed with the functions' key is no call of Farshore's."""
        if target.access_key != FUNCTION_KEY:
            return
        by = function.partition("-")[2] if function else "instance"
        if by in WORKERS:
            if target.operation == "UpdateItem":
                self._follow(by, parse(target, environ)["Key"]["pk"]["S"])
            by = self.jobs.get(by, by)
        self.calls.setdefault(by, Counter())[f"{target.service}:{target.operation}"] += 1

    def of(self, *names: str) -> Calls:
        """Add up the calls made under these names."""
        return sum((self.calls.get(name, Counter()) for name in names), Calls())

    def _follow(self, worker: str, key: str) -> None:
        if key.startswith("job#"):
            self.jobs[worker] = key.removeprefix("job#")


@dataclass(frozen=True, slots=True)
class Counted:
    """The calls of each kind of work, of an idle tick and an idle day, and how long that day took."""

    work: Mapping[str, Calls]
    idle_tick: Calls
    idle_day: Calls
    idle_day_seconds: float


def count_calls(root: Path) -> Counted:
    """Do each kind of work once and count."""
    with cold_functions(), Cloud(root, start_at=BEGIN, signed=True) as cloud, fresh_stage(cloud) as app:
        ledger = Ledger()
        cloud.calls.on_call.append(ledger.see)
        instance = app.run_instance(app="bench", Name="bench")
        app.store_plan("bench", plan())
        tick, day, seconds = idle(app, ledger)
        work = Work(app, ledger, instance)
        work.do_all()
        return Counted(work.counted, tick, day, seconds)


def plan() -> Document:
    """Return a plan of which nothing is ever due."""
    rule: Document = {"schedule": NEVER, "lifecycle": {"count": 2}}
    rules: list[Document] = [
        {"name": "blocks", "kind": "snapshot", "volumes": {"boot": False}},
        {"name": "files", "kind": "service", **SCRIPTS},
    ]
    return {"selection": {"tags": {"app": "bench"}}, "rules": [rule | each for each in rules]}


def idle(app: Deployment, ledger: Ledger) -> tuple[Calls, Calls, float]:
    """Let time pass with nothing due: the calls of a tick and of a day, the day's real seconds."""
    app.cloud.advance(2 * TICK)  # in which a new plan is looked at, swept, and put to sleep
    ledger.calls.clear()
    app.cloud.advance(TICK)
    tick = ledger.of("Tick")
    ledger.calls.clear()
    start = perf_counter()
    app.cloud.advance(timedelta(days=1))
    return tick, ledger.of(*ledger.calls), perf_counter() - start


@dataclass(frozen=True, slots=True)
class Work:
    """Every kind of work, one job at a time; `counted` holds the calls of those done."""

    app: Deployment
    ledger: Ledger
    instance: str
    counted: dict[str, Calls] = field(default_factory=dict)

    def do_all(self) -> None:
        """Do each kind once."""
        blocks = self.back_up("snapshot backup, 1 volume", "blocks")
        self.copy("copy of a snapshot to another region", blocks, "dr")
        files = self.back_up("service backup, 1 MB in 1 part", "files")
        self.copy("copy of a file to another region", files, "dr")
        self.copy("copy of a file off-site, 1 segment", files, "offsite")
        self.restore("restore of a volume", blocks, "dr", {"availability_zone": f"{DR_REGION}a"})
        self.restore("restore of a file from S3", files, "primary", {"instance_id": self.instance})
        self.restore("restore of a file from off-site", files, "offsite", {"instance_id": self.instance})
        for rule in ("blocks", "files"):  # the newest point is never deleted
            self.app.make_point("bench", rule)
        self.delete("expire of a snapshot in 2 regions", blocks)
        self.delete("expire of a file in 3 vaults", files)

    def back_up(self, name: str, rule: str) -> str:
        """Back up by request, and answer the point; the lifecycle follows as a job of its own."""
        job = self.measure(name, "POST", "/backups", {"plan": "bench", "rule": rule})
        [lifecycle, *_] = self.app.everything("/jobs", kind="expire")
        self.counted["expire of nothing, after each backup"] = self.ledger.of(lifecycle["id"])
        return str(self.app.job(job)["recovery_point"])

    def copy(self, name: str, point: str, vault: str) -> None:
        """Copy a point into a vault."""
        self.measure(name, "POST", f"/recovery-points/{point}/copies", {"vault": vault})

    def restore(self, name: str, point: str, vault: str, target: Document) -> None:
        """Restore a point from a vault."""
        body = {"recovery_point": point, "vault": vault, "target": target}
        self.measure(name, "POST", "/restores", body)

    def delete(self, name: str, point: str) -> None:
        """Delete a point in every vault."""
        self.measure(name, "DELETE", f"/recovery-points/{point}", None)

    def measure(self, name: str, method: str, path: str, body: Document | None) -> str:
        """Ask for one job, wait until it is over, and count."""
        self.ledger.calls.clear()
        answer = self.app.ask(method, path, body)
        [job] = answer.document["jobs"]
        self.app.finish()
        if (ended := self.app.job(job))["state"] != "COMPLETED":
            raise RuntimeError(f"{name}: {ended}")
        self.counted[name] = self.ledger.of(job, *HELPERS)
        return str(job)
