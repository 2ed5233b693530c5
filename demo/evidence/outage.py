"""Act 4's evidence of the outage: the API reports it while it lasts, and afterwards nothing is missing."""

from collections.abc import Sequence
from datetime import datetime

from demo.claims import Claims
from demo.farshore import Document, Farshore, artefact, moment

NIGHTLY = {("orders-db", "nightly"), ("files", "volumes")}


def check_told(claims: Claims, farshore: Farshore, began: datetime) -> None:
    """Check that the API says what is missing, and that every missing copy will be tried again."""
    again = "copies into dr that failed and will be tried again"
    told = [sentence for sentence in says(farshore) if again in sentence]
    claims.check("GET /status says which copies are missing", bool(told), told[0] if told else "nothing")
    waiting = [job for job in farshore.jobs(began) if job["kind"] == "backup" and job["state"] == "RUNNING"]
    seen = waiting[0]["reason"] if waiting else "no job waits"
    claims.check("the night's snapshots are waited for, by one job", len(waiting) == 1, seen)
    lacking = [point for point in farshore.points() if _failed_in(point)]
    forgotten = [point["id"] for point in lacking if not point.get("copies_due")]
    claims.same(
        "each copy that failed is made again until it is there", [], forgotten, f"{len(lacking)} points"
    )


def check_made_up_for(claims: Claims, farshore: Farshore, began: datetime, ended: datetime) -> None:
    """Check that every backup and copy of the outage is there, and that nothing was left behind."""
    still = says(farshore)
    claims.same("two days later nothing is missing", [], still, "GET /status has nothing to say")
    made = [point for point in farshore.points() if began < moment(point["nominal_at"]) < ended]
    whole = {(each["service"], each["rule"]) for each in made if artefact(each, "primary")}
    lacking = [f"{each['id']} in {', '.join(vaults)}" for each in made if (vaults := _failed_in(each))]
    claims.same(
        "the backups of that night were made all the same", NIGHTLY, NIGHTLY & whole, f"{len(made)} points"
    )
    claims.same("and their copies", [], lacking, "in dr and offsite")
    findings = farshore.inventory()
    seen = "GET /inventory lists nothing"
    claims.same("the daily inventory finds nothing left behind", [], findings, seen)


def check_failures(claims: Claims, jobs: Sequence[Document], night: tuple[datetime, datetime] | None) -> None:
    """Check that no jobs have failed except those in the outage."""
    failed = [job for job in jobs if job["state"] != "COMPLETED"]
    others = [job for job in failed if not (night and night[0] <= moment(job["created_at"]) <= night[1])]
    seen = f"{len(failed)} of {len(jobs)} jobs failed in the outage, and no other"
    claims.same("no job failed but for the outage", [], [job["reason"] for job in others], seen)


def says(farshore: Farshore) -> list[str]:
    """Return all sentences in the status of the services."""
    return [sentence for status in farshore.status().values() for sentence in status["says"]]


def _failed_in(point: Document) -> list[str]:
    return [each["vault"] for each in point["artefacts"] if each["state"] == "FAILED"]
