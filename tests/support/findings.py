"""What is wrong in the end: the catalog compared with what lies in the vaults, in EC2 and on the queues."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tests.support.api import Document
from tests.support.world import REGIONS

if TYPE_CHECKING:
    from tests.support.deployment import Deployment

KEPT = ("AVAILABLE", "EXPIRED")


def discrepancies(app: "Deployment") -> list[str]:
    """Compare the catalog with what lies in the vaults; say what is there too often or not at all."""
    points = app.points()
    return [
        *(f"{job['id']} is {job['state']}: {job['reason']}" for job in app.unfinished()),
        *(finding for vault in REGIONS for finding in _snapshot_discrepancies(app, vault, points)),
        *(finding for vault in (*REGIONS, "offsite") for finding in _file_discrepancies(app, vault, points)),
        *(f"an upload of {key} is open in {vault}" for vault in REGIONS for key in app.uploads(vault)),
        *(f"{n} copy slots are taken in {vault}" for vault in REGIONS if (n := app.slots_in_use(vault))),
        *(f"a dead letter: {body}" for body in app.dead_letters()),
    ]


def _snapshot_discrepancies(app: "Deployment", vault: str, points: Iterable[Document]) -> list[str]:
    listed = [
        snapshot
        for point in points
        for artefact in point["artefacts"]
        if artefact["vault"] == vault and artefact["state"] in KEPT
        for snapshot in artefact.get("snapshot_ids", ())
    ]
    rest = {
        snapshot
        for point in points
        for artefact in point["artefacts"]
        if artefact["vault"] == vault and artefact["state"] == "MISSING"
        for snapshot in artefact.get("snapshot_ids", ())
    }
    there = {id: snapshot for id, snapshot in app.snapshots(vault).items() if id not in rest}
    made = {volume for job in app.jobs(kind="restore") for volume in job.get("made", {}).values()}
    return [
        *(f"{each} in {vault} is of no point" for each in there.keys() - set(listed)),
        *(f"{each} is not in {vault}" for each in set(listed) - there.keys()),
        *(f"{each} is listed twice" for each in set(listed) if listed.count(each) > 1),
        *(f"{each} is of no restore" for each in app.restored_volumes(vault).keys() - made),
    ]


def _file_discrepancies(app: "Deployment", vault: str, points: Iterable[Document]) -> list[str]:
    there = app.keys(vault) - {"restore.sh"}
    listed: set[str] = set()
    for point in points:
        for artefact in point["artefacts"]:
            if artefact["vault"] != vault:
                continue
            if artefact["state"] in KEPT:
                listed |= _files_of(point, artefact, there)
            elif artefact["state"] == "MISSING":  # what is still there of it stays
                there -= _files_of(point, artefact, there)
    return [
        *(f"{key} in {vault} is of no point" for key in there - listed),
        *(f"{key} is not in {vault}" for key in listed - there),
    ]


def _files_of(point: Document, artefact: Document, there: Iterable[str]) -> set[str]:
    """Return the files that an artefact consists of."""
    if "snapshot_ids" in artefact:  # the API shows no folder; its name ends in the point's id
        manifests = {key for key in there if key.endswith(f"-{point['id']}/manifest.json")}
        return manifests or {f"the manifest of {point['id']}"}
    folder = artefact["folder"]
    segments = {f"{folder}segments/{n:06d}" for n in range(1, artefact.get("segments", 0) + 1)}
    return {f"{folder}manifest.json"} | (segments or {artefact["key"]})
