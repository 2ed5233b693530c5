"""Act 4's evidence: what is left after five weeks, in the catalog and in every vault, and why."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from demo.claims import Claims
from demo.evidence.expected import left
from demo.farshore import Document, artefact, moment
from demo.ground import DR, HOME, DemoCloud

REGIONS = {"primary": HOME, "dr": DR}
Verdicts = Mapping[tuple[str, str], Document]
"""The last verdict on each recovery point in each vault."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """The recovery points of one rule of a plan, and the times at which backups were due."""

    service: str
    rule: Mapping[str, Any]
    expected: list[datetime]
    points: Sequence[Document]
    asked: Sequence[datetime] = ()
    """The times at which a backup was requested: these are counted separately."""

    @property
    def name(self) -> str:
        """Return it in a word."""
        return f"{self.service}/{self.rule['name']}"

    def lifecycles(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Return each vault with its own lifecycle."""
        yield "primary", self.rule["lifecycle"]
        for copy in self.rule["copies"]:
            yield copy["vault"], copy.get("lifecycle", self.rule["lifecycle"])


def verdicts_of(jobs: Sequence[Document]) -> Verdicts:
    """Return the last verdict of the lifecycle jobs, given newest first, on each point."""
    return {
        (each["recovery_point"], each["vault"]): each
        for job in reversed(jobs)
        for each in job.get("judged", ())
    }


def check_made(claims: Claims, lineage: Lineage) -> None:
    """Check that every due run made its point, and made it once."""
    made = sorted(moment(point["nominal_at"]) for point in lineage.points if point["state"] != "FAILED")
    claims.same(
        f"{lineage.name} made a backup every time it had to", lineage.expected, made, f"{len(made)} times"
    )


def check_left(claims: Claims, lineage: Lineage, judged_at: datetime) -> None:
    """Check that each vault has exactly the points that the plan keeps."""
    for vault, lifecycle in lineage.lifecycles():
        due = [at for at in lineage.expected if at not in lineage.asked]
        expected = sorted({*left(lifecycle, due, judged_at), *lineage.asked})
        found = sorted(moment(point["nominal_at"]) for point in lineage.points if artefact(point, vault))
        seen = f"{len(found)} of {len(lineage.expected)} are left"
        claims.same(f"{lineage.name} in {vault}: what is left is what the plan says", expected, found, seen)


def check_reasons(claims: Claims, points: Sequence[Document], verdicts: Verdicts) -> None:
    """Check that every point that was kept or deleted has a reason."""
    kept, gone, wrong = 0, 0, []
    for point in points:
        for each in point["artefacts"]:
            verdict = verdicts.get((point["id"], each["vault"]))
            is_left = each["state"] == "AVAILABLE"
            if verdict is None or not verdict["reason"] or verdict["keep"] != is_left:
                wrong.append(f"{point['id']} in {each['vault']}: {verdict}")
            kept, gone = kept + is_left, gone + (not is_left)
    claims.check(
        "every keep and every delete has a reason",
        not wrong,
        wrong[0] if wrong else f"{kept} kept, {gone} deleted",
    )


def check_no_orphans(claims: Claims, ground: DemoCloud, points: Sequence[Document]) -> None:
    """Check that the vaults have everything that belongs to their points, and nothing else."""
    for vault, region in REGIONS.items():
        answer = ground.client("ec2", region).describe_snapshots(OwnerIds=["self"])
        found = {each["SnapshotId"] for each in answer["Snapshots"]}
        there = [artefact(point, vault) for point in points]
        expected = {snapshot for each in there if each for snapshot in each.get("snapshot_ids", ())}
        claims.same(
            f"the snapshots in {region} are those of the points", expected, found, f"{len(found)} snapshots"
        )
        check_bucket(claims, ground, vault, points)
    if folder := ground.offsite_folder:
        keys = [str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()]
        _check_folders(claims, "offsite", points, _points_of(keys))


def check_bucket(claims: Claims, ground: DemoCloud, vault: str, points: Sequence[Document]) -> None:
    """Check that a vault's bucket has the objects of its points and nothing else."""
    _check_folders(claims, vault, points, _points_in_bucket(ground, vault, REGIONS[vault]))


def _check_folders(claims: Claims, vault: str, points: Sequence[Document], found: set[str]) -> None:
    expected = {point["id"] for point in points if artefact(point, vault)}
    claims.same(f"the objects in {vault} are those of the points", expected, found, f"{len(found)} points")


def _points_in_bucket(ground: DemoCloud, vault: str, region: str) -> set[str]:
    bucket = ground.vaults[vault].removeprefix("s3://")
    pages = ground.client("s3", region).get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return _points_of([each["Key"] for page in pages for each in page.get("Contents", ())])


def _points_of(keys: list[str]) -> set[str]:
    """Return the recovery points that keys belong to; a key of no point is returned itself."""
    found = set()
    for key in keys:
        if key != "restore.sh":
            parts = key.split("/")
            found.add("rp-" + parts[3].rpartition("rp-")[2] if parts[0] == "points" else key)
    return found
