"""Act 2's evidence: backups are made and copied; every copy is read without using the app."""

import hashlib
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from demo.claims import Claims
from demo.database import OrderEntry
from demo.farshore import Document, artefact, moment
from demo.ground import DR, HOME, DemoCloud
from demo.watch import Watch

SOON = timedelta(minutes=1)
"""A job that continues this soon after an event does so because of it; otherwise it waits ten minutes."""


Notes = Mapping[str, tuple[str, int]]
"""What the backup script noted, by job: the SHA-256 and the number of orders of its copy."""


@dataclass(slots=True)
class Pending:
    """The snapshots that were seen pending, by region."""

    ground: DemoCloud
    seen: dict[str, set[str]] = field(default_factory=lambda: {HOME: set(), DR: set()})

    def look(self) -> None:
        """Add those that are pending now."""
        for region, seen in self.seen.items():
            answer = self.ground.client("ec2", region).describe_snapshots(
                OwnerIds=["self"], Filters=[{"Name": "status", "Values": ["pending"]}]
            )
            seen.update(each["SnapshotId"] for each in answer["Snapshots"])


def check_snapshots(claims: Claims, pending: Pending, watch: Watch, point: Document) -> None:
    """Check a point of snapshots against EC2 and the events that were received."""
    for vault, region in (("primary", HOME), ("dr", DR)):
        there = artefact(point, vault)
        ids = set(there["snapshot_ids"]) if there else set()
        seen = pending.seen[region] | _took_time(watch)
        claims.check(
            f"snapshots in {vault} were pending first", bool(ids) and ids <= seen, ", ".join(sorted(ids))
        )
    ended = {job["kind"]: moment(job["updated_at"]) for job in watch.jobs.values() if _of(job, point)}
    heard = {
        "backup": _heard(watch, "createSnapshots", point["created_at"]),
        "copy": _heard(watch, "copySnapshot", point["created_at"]),
    }
    for kind, at in heard.items():
        went_on = at is not None and kind in ended and at <= ended[kind] <= at + SOON
        seen_text = (
            f"last event {at:%H:%M:%S}, job over {ended[kind]:%H:%M:%S}" if at and kind in ended else "none"
        )
        claims.check(
            f"the {kind} of {point['service']}/{point['rule']} went on with its events", went_on, seen_text
        )


def _took_time(watch: Watch) -> set[str]:
    """Return the snapshots that were pending: by their events, they ended later than they began."""
    took: set[str] = set()
    for heard in watch.events:
        detail = heard.detail
        if "startTime" in detail and moment(detail["endTime"]) > moment(detail["startTime"]):
            told = [each["snapshot_id"] for each in detail.get("snapshots", ())] or [detail["snapshot_id"]]
            took.update(arn.rpartition("/")[2] for arn in told)
    return took


def check_in_s3(claims: Claims, ground: DemoCloud, point: Document, expected: str) -> None:
    """Check that the S3 vaults have exactly the bytes that the script wrote."""
    name = f"{point['service']}/{point['rule']}"
    for vault, region in (("primary", HOME), ("dr", DR)):
        there = artefact(point, vault)
        bucket = ground.vaults[vault].removeprefix("s3://")
        if there:
            body = ground.client("s3", region).get_object(Bucket=bucket, Key=there["key"])["Body"].read()
            found = hashlib.sha256(body).hexdigest()
        else:
            found = "nothing"
        claims.same(
            f"{name} in {vault} is what its script wrote", expected, found, f"SHA-256 {found[:16]}..."
        )


def check_opened_offsite(claims: Claims, folder: Path, point: Document, expected: str, scratch: Path) -> None:
    """Check that an off-site copy can be opened with only the script in the vault."""
    there, output = artefact(point, "offsite"), scratch / "opened"
    if there:
        command = ["sh", str(folder / "restore.sh"), str(folder / there["folder"]), str(output)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        found = hashlib.sha256(output.read_bytes()).hexdigest() if ran.returncode == 0 else ran.stderr
    else:
        found = "nothing"
    name = f"the off-site copy of {point['service']} opens without Farshore and without AWS"
    claims.same(name, expected, found, f"restore.sh of the vault: SHA-256 {found[:16]}...")


def check_ways(claims: Claims, ground: DemoCloud, before: tuple[int, int]) -> None:
    """Check that the bytes went from the instance to S3, and within S3 to the other region.

    `before` are the earlier counts of `uploads_and_copies`.
    """
    uploads, copies = (now - then for now, then in zip(uploads_and_copies(ground), before, strict=True))
    claims.check(
        "the instance sent the backup to S3 itself", uploads > 0, f"{uploads} parts, by presigned URLs"
    )
    claims.check("S3 copied it into the other region itself", copies > 0, f"{copies} CopyObject")


def uploads_and_copies(ground: DemoCloud) -> tuple[int, int]:
    """Return the number of parts that were not uploaded by the app, and of S3's copies for the app."""
    uploads = ground.calls("other").get("s3", {}).get("UploadPart", 0)
    return uploads, ground.calls().get("s3", {}).get("CopyObject", 0)


def script_notes(directory: Path) -> Notes:
    """Return the notes of the orders' script on its instance: by job, the SHA-256 and rows of the copy."""
    notes = {}
    for line in (directory / "backup.log").read_text().splitlines():
        job, sha256, rows = line.split()
        notes[job] = (sha256, int(rows))
    return notes


def check_written_while(claims: Claims, orders: OrderEntry, before: int, copied: int) -> None:
    """Check that the database was written to before, during and after its backup."""
    after = orders.rows
    claims.check(
        "the database was written to while it was backed up",
        before <= copied < after,
        f"{before:,} orders before, {copied:,} in the backup, {after:,} after",
    )


def job_that_made(watch: Watch, point: Document) -> str:
    """Return the id of the backup job of a point."""
    return next(str(job["id"]) for job in watch.jobs.values() if job["kind"] == "backup" and _of(job, point))


def _of(job: Document, point: Document) -> bool:
    return bool(job.get("recovery_point") == point["id"] and job["kind"] in ("backup", "copy"))


def _heard(watch: Watch, event: str, since: str) -> datetime | None:
    times = [
        heard.at
        for heard in watch.events
        if heard.detail.get("event") == event
        and heard.at >= moment(since)
        and heard.detail["result"] == "succeeded"
    ]
    return max(times, default=None)
