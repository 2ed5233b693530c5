"""The stage and the world around it: the API, EC2, what lies in the vaults, instances' disks."""

from pathlib import Path
from typing import Any

from local_cloud.cloud import Cloud
from stage import DR_BUCKET, DR_REGION, HOME_BUCKET, HOME_REGION, Stage
from tests.support.api import Api

REGIONS = {"primary": HOME_REGION, "dr": DR_REGION}
BUCKETS = {"primary": HOME_BUCKET, "dr": DR_BUCKET}
NEVER = "cron(0 0 1 1 ? 2199)"
"""The schedule of a rule that runs only when it is asked to."""


class World(Api):
    """One stage on one cloud."""

    def __init__(self, cloud: Cloud, stage: Stage) -> None:
        super().__init__(cloud.api.url)
        self.cloud = cloud
        self.offsite = Path(stage.offsite.where)

    def ec2(self, region: str = HOME_REGION) -> Any:
        """Return the operator's EC2 client of a region."""
        return self.cloud.client("ec2", region)

    def s3(self, vault: str) -> Any:
        """Return the operator's S3 client of a vault's region."""
        return self.cloud.client("s3", REGIONS[vault])

    def directory(self, instance: str) -> Path:
        """Return the directory that is an instance's disk."""
        return self.cloud.ec2.directory(instance)

    def keys(self, vault: str) -> set[str]:
        """List the keys of the objects in a vault."""
        if vault == "offsite":
            return {str(file.relative_to(self.offsite)) for file in self.offsite.rglob("*") if file.is_file()}
        pages = self.s3(vault).get_paginator("list_objects_v2").paginate(Bucket=BUCKETS[vault])
        return {each["Key"] for page in pages for each in page.get("Contents", ())}

    def read(self, vault: str, key: str) -> bytes:
        """Read an object of a vault."""
        if vault == "offsite":
            return (self.offsite / key).read_bytes()
        content: bytes = self.s3(vault).get_object(Bucket=BUCKETS[vault], Key=key)["Body"].read()
        return content

    def spoil(self, vault: str, key: str, content: bytes | None) -> None:
        """Put other bytes in an object's place, or with None remove it."""
        if vault == "offsite":
            file = self.offsite / key
            file.unlink() if content is None else file.write_bytes(content)
        elif content is None:
            self.s3(vault).delete_object(Bucket=BUCKETS[vault], Key=key)
        else:
            self.s3(vault).put_object(Bucket=BUCKETS[vault], Key=key, Body=content)

    def uploads(self, vault: str | None = None) -> list[str]:
        """List the keys of the multipart uploads that were begun and not ended, in one vault or in all."""
        found = [
            self.s3(name).list_multipart_uploads(Bucket=BUCKETS[name])
            for name in ([vault] if vault else BUCKETS)
        ]
        return [each["Key"] for listed in found for each in listed.get("Uploads", ())]
