"""Act 5's evidence: what was restored is what was backed up, byte for byte."""

import json
from collections.abc import Mapping
from pathlib import Path

from botocore.exceptions import ClientError

from demo.claims import Claims
from demo.database import Contents
from demo.farshore import Document
from demo.files import Tree, read_tree
from demo.ground import DR, HOME, DemoCloud


def check_lost(claims: Claims, ground: DemoCloud, instance_id: str) -> None:
    """Check that the instance and the home bucket are really lost."""
    answer = ground.client("ec2", HOME).describe_instances(InstanceIds=[instance_id])
    state = answer["Reservations"][0]["Instances"][0]["State"]["Name"]
    gone = state in ("shutting-down", "terminated") and instance_id not in ground.control.get("/instances")
    claims.check("the instance is gone, and its directory with it", gone, f"{instance_id} is {state}")
    try:
        ground.client("s3", HOME).list_objects_v2(Bucket=home_bucket(ground))
        said = "it answers"
    except ClientError as error:
        said = error.response["Error"]["Code"]
    claims.same("the home bucket is unreachable", "ServiceUnavailable", said, said)


def home_bucket(ground: DemoCloud) -> str:
    """Return the bucket of the primary vault."""
    return ground.vaults["primary"].removeprefix("s3://")


def unreachable(bucket: str) -> list[Mapping[str, object]]:
    """Return the faults with which a bucket answers only errors."""
    error = {"code": "ServiceUnavailable", "status": 503, "message": "The region is on fire."}
    return [{"match": {"service": "s3", "resource": bucket}, "effect": {"error": error}}]


def volumes_by_original(ground: DemoCloud, point: Document, made: Mapping[str, str]) -> dict[str, str]:
    """Return the volumes made of a point's snapshots in the DR region, by their original volumes.

    The originals are in the recovery point's manifest in the vault.
    """
    s3, bucket = ground.client("s3", DR), ground.vaults["dr"].removeprefix("s3://")
    listing = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [each["Key"] for page in listing for each in page.get("Contents", ())]
    [key] = [key for key in keys if key.endswith(f"{point['id']}/manifest.json")]
    manifest = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    return {each["volume_id"]: made[each["snapshot_id"]] for each in manifest["snapshots"]}


def check_database(claims: Claims, found: Contents, noted: tuple[str, int]) -> None:
    """Compare a restored database with the notes of the backup script."""
    sha256, rows = noted
    claims.same(
        "the restored database is the backup, byte for byte",
        sha256,
        found.sha256,
        f"SHA-256 {sha256[:16]}...",
    )
    claims.same("it has every order of the backup", rows, found.rows, f"{rows:,} orders")
    claims.same("SQLite's integrity check passes", "ok", found.integrity, found.integrity)
    claims.check("no transaction is torn", found.ledger_agrees, "the ledger agrees with the orders")


def check_volume(claims: Claims, volume_id: str, expected: Tree, now: Tree, place: Path) -> None:
    """Compare a restored volume with the contents of the original when the snapshot was taken."""
    found = read_tree(place)
    wrong = sorted(path for path in expected.keys() | found.keys() if expected.get(path) != found.get(path))
    seen = f"{len(wrong)} files differ: {wrong[:3]}" if wrong else f"{len(found)} files"
    claims.check(
        f"{volume_id}, restored abroad, is what it was at the snapshot, byte for byte", not wrong, seen
    )
    claims.check(
        f"and that is not what {volume_id} holds now", dict(now) != found, "its files went on changing"
    )
