"""Checks what a deployment relies on before anything is made, and tells the deploying script what it needs.

Findings are on standard error: each has the field, its value, what is wrong and the remedy. On standard
output are words separated by tabs: `account ID`, `buckets ARN,ARN`, `dr NAME REGION BUCKET KEY` for each
vault whose region gets a stack of its own, and with ADOPT=1 `kept STACK NAME` for each bucket and table
that an earlier deployment has left. With `--offline` only the settings are checked, and the account is
`ACCOUNT`. The exit code is 1 if something must be mended first.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.aws.secrets import Secrets
from chalicelib.errors import FarshoreError
from chalicelib.settings import OffsiteVaultConfig
from chalicelib.vaults.offsite import open_offsite
from deploy.deployment import Deployment, Finding

Client = Callable[[str, str], Any]
# The functions beside the workers: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
OTHER_FUNCTIONS = 12
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
UNRESERVED, RESERVED = 100, 11


@dataclass(frozen=True, slots=True)
class Account:
    """Whose account it is, and what is reached in it."""

    client: Client
    id: str
    partition: str
    kept: list[tuple[str, str]] = field(
        default_factory=list
    )  # the stack that each belongs into, and its name


def client_of(service: str, region: str) -> Any:
    """Return a client of a region, which gives up soon."""
    make: Any = boto3.client  # the typed function takes only literal names
    config = Config(connect_timeout=5, read_timeout=15, retries={"mode": "standard", "total_max_attempts": 3})
    return make(service, region_name=region, config=config)


def check(wanted: Deployment, client: Client = client_of) -> tuple[Account | None, list[Finding]]:
    """Return the account, if it could be reached, and everything that is found."""
    if faults := wanted.faults():
        return None, faults
    try:
        identity = client("sts", wanted.region).get_caller_identity()
    except (ClientError, BotoCoreError) as error:
        remedy = "set AWS_PROFILE or the keys of a caller that may create the stacks, and look at REGION"
        return None, [Finding("credentials", f"AWS does not accept them: {error}", remedy)]
    account = Account(client, identity["Account"], identity["Arn"].split(":")[1])
    checks = (stage, buckets, secrets_and_containers, concurrency, alarms)
    with ThreadPoolExecutor(len(checks)) as pool:
        return account, [
            each for found in pool.map(lambda c: list(c(wanted, account)), checks) for each in found
        ]


def stage(wanted: Deployment, account: Account) -> Iterator[Finding]:
    """Look for the stage: under another stack's name, in another region, or left over of a deleted stack."""
    here = account.client("cloudformation", wanted.region)
    owner, other = _owner(here, wanted.table), "name another STAGE"
    made = _parameters(here, wanted.stack)
    if owner not in (None, wanted.stack):
        remedy = f"{other}, or update that stack with STACK={owner}"
        yield Finding(
            "STAGE", f"{wanted.stage!r} is deployed in {wanted.region} as the stack {owner}", remedy
        )
    elif owner is None and made is None and _has_table(account, wanted):
        what = f"the table {wanted.table} of an earlier deployment is still in {wanted.region}"
        yield _left("STAGE", what, other, wanted, account, (wanted.stack, wanted.table))
    bucket = (made or {}).get("VaultBucketName", wanted.settings.vault_bucket)
    if bucket != wanted.settings.vault_bucket:
        what = f"{wanted.settings.vault_bucket!r} is not the bucket of this stage, which is {bucket}"
        yield Finding(
            "VAULT_BUCKET", what, f"write {bucket}: a stage keeps its bucket; {other} for a new one"
        )
    if made is None:
        yield from _elsewhere(wanted, account)


def _elsewhere(wanted: Deployment, account: Account) -> Iterator[Finding]:
    try:
        found = account.client("ec2", wanted.region).describe_regions()["Regions"]
    except ClientError as error:
        yield _unknown("STAGE", "whether it is deployed in another region", error)
        return
    regions = [each["RegionName"] for each in found if each["RegionName"] != wanted.region]

    def look(region: str) -> Finding | None:
        there = account.client("cloudformation", region)
        try:
            name = (
                wanted.stack if _parameters(there, wanted.stack) is not None else _owner(there, wanted.table)
            )
        except (ClientError, BotoCoreError) as error:
            return _unknown("STAGE", f"whether it is deployed in {region}", error)
        what = f"{wanted.stage!r} is deployed in {region} as the stack {name}"
        return (
            Finding("STAGE", what, f"set REGION={region} to update it, or name another STAGE")
            if name
            else None
        )

    with ThreadPoolExecutor(16) as pool:
        yield from filter(None, pool.map(look, regions))


def buckets(wanted: Deployment, account: Account) -> Iterator[Finding]:
    """Look whether the names of buckets are free, or taken by the stacks that are deployed again."""
    home = wanted.settings.primary
    yield from _name(wanted, account, "VAULT_BUCKET", home.bucket, home.region, wanted.stack)
    for name, vault in wanted.s3_vaults.items():
        field = f"VAULTS /{name}/bucket"
        if vault.region != home.region:
            yield from _name(wanted, account, field, vault.bucket, vault.region, dr_stack(wanted, name))
        elif _state(account, vault.bucket, vault.region) != "ours":
            what = f"there is no bucket {vault.bucket} in the home region, {home.region}"
            yield Finding(field, what, "name another region: a stack is made there; or make the bucket first")
        else:
            what = f"{vault.bucket} is in the home region"
            yield Finding(field, what, "a vault in another region survives the loss of this one", stops=False)
        yield from _key(account, f"VAULTS /{name}/kms_key", vault.kms_key, vault.region)
    yield from _key(account, "VAULT_KEY", home.kms_key, home.region)


def _name(
    wanted: Deployment, account: Account, field: str, bucket: str, region: str, stack: str
) -> Iterator[Finding]:
    state = _state(account, bucket, region)
    if state == "taken":
        yield Finding(field, f"the name {bucket} is taken by another account", "choose another name")
    elif state == "ours" and bucket not in _physical_ids(account.client("cloudformation", region), stack):
        what = f"{bucket} exists in this account, but not in the stack {stack}"
        yield _left(field, what, "choose another name", wanted, account, (stack, bucket))


def _left(
    field: str, what: str, other: str, wanted: Deployment, account: Account, kept: tuple[str, str]
) -> Finding:
    """Return the finding of what an earlier deployment has left; it is noted if it is to be taken over."""
    if wanted.variables.get("ADOPT") == "1":
        account.kept.append(kept)
        return Finding(field, what, "it is taken over", stops=False)
    return Finding(field, what, f"{other}, take it over with ADOPT=1, or delete it as docs/deploy.md says")


def _state(account: Account, bucket: str, region: str) -> str:
    """Return whose the name of a bucket is: `ours`, `taken`, or `free`."""
    try:
        account.client("s3", region).head_bucket(Bucket=bucket, ExpectedBucketOwner=account.id)
    except ClientError as error:
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html: 404 only if there is none
        return {"404": "free", "301": "ours"}.get(error.response["Error"]["Code"], "taken")
    return "ours"


def _key(account: Account, field: str, key: str | None, region: str) -> Iterator[Finding]:
    if not key:
        return
    remedy = f"name a symmetric key of {region} that is enabled"
    try:
        state = account.client("kms", region).describe_key(KeyId=key)["KeyMetadata"]["KeyState"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NotFoundException":
            yield _unknown(field, f"the state of {key}", error)
        else:
            yield Finding(field, f"there is no key {key} in {region}", remedy)
        return
    if state != "Enabled":
        yield Finding(field, f"the key {key} is {state}", remedy)


def secrets_and_containers(wanted: Deployment, account: Account) -> Iterator[Finding]:
    """Look for the secret and the container of each vault in another cloud."""
    secrets = account.client("secretsmanager", wanted.region)
    for name, config in wanted.offsite_vaults.items():
        fault = _secret(f"VAULTS /{name}/credentials", config.credentials, secrets, wanted.region)
        yield from [fault] if fault else _container(name, config, secrets)


def _secret(field: str, secret: str | None, secrets: Any, region: str) -> Finding | None:
    if secret is None:
        return None
    try:
        described = secrets.describe_secret(SecretId=secret)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            return _unknown(field, f"the secret {secret}", error)
        create = (
            f"aws secretsmanager create-secret --region {region} --name {secret} --secret-string file://..."
        )
        return Finding(field, f"there is no secret {secret} in {region}", f"make it: {create}")
    if "DeletedDate" not in described:
        return None
    restore = f"aws secretsmanager restore-secret --region {region} --secret-id {secret}"
    return Finding(field, f"the secret {secret} is being deleted", f"take that back: {restore}")


def _container(name: str, config: OffsiteVaultConfig, secrets: Any) -> Iterator[Finding]:
    field = f"VAULTS /{name}"
    try:
        vault = open_offsite(
            name,
            provider=config.provider,
            container=config.container,
            options=config.options,
            credentials=Secrets(secrets).secret(config.credentials) if config.credentials else {},
        )
        vault.size("farshore-preflight")
    except FarshoreError as error:
        remedy = "make the container, or mend container, credentials or options; Farshore makes none itself"
        yield Finding(field, f"{config.provider} {config.container!r} cannot be used: {error}", remedy)


def concurrency(wanted: Deployment, account: Account) -> Iterator[Finding]:
    """Compare the workers with the account's Lambda concurrency."""
    try:
        limits = account.client("lambda", wanted.region).get_account_settings()["AccountLimit"]
    except (ClientError, BotoCoreError) as error:
        yield _unknown("JOB_WORKERS", "the account's Lambda concurrency", error)
        return
    total, workers = limits["ConcurrentExecutions"], int(wanted.variables.get("JOB_WORKERS") or 50)
    if workers + OTHER_FUNCTIONS > total:
        what = f"{workers} workers and {OTHER_FUNCTIONS} others are more than the account's {total} at once"
        remedy = f"set JOB_WORKERS={max(2, total - OTHER_FUNCTIONS)}, or have Lambda's quota raised"
        yield Finding("JOB_WORKERS", what, remedy, stops=False)
    free = limits.get("UnreservedConcurrentExecutions", total)
    if wanted.variables.get("RESERVE_CONCURRENCY") == "yes" and free < UNRESERVED + RESERVED:
        what = f"only {free} are unreserved, and Lambda keeps {UNRESERVED} of them"
        yield Finding("RESERVE_CONCURRENCY", what, "leave it out, or have Lambda's quota raised")


def alarms(wanted: Deployment, account: Account) -> Iterator[Finding]:
    """Look whether anybody is told of alarms."""
    if wanted.variables.get("ALARM_EMAIL") or wanted.variables.get("ALARM_TOPIC"):
        return
    made = _parameters(account.client("cloudformation", wanted.region), wanted.stack) or {}
    if not (made.get("AlarmEmail") or made.get("AlarmTopicArn")):
        yield Finding("ALARM_EMAIL", "alarms notify nobody", "set an address, or ALARM_TOPIC", stops=False)


def dr_stack(wanted: Deployment, vault: str) -> str:
    """Return the name of the stack of a vault in another region."""
    return f"{wanted.stack}-{vault}"


def _unknown(field: str, what: str, error: Exception) -> Finding:
    return Finding(
        field, f"{what} could not be looked up: {error}", "allow the call, or look yourself", stops=False
    )


def _has_table(account: Account, wanted: Deployment) -> bool:
    try:
        account.client("dynamodb", wanted.region).describe_table(TableName=wanted.table)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return False
    return True


def _owner(cloudformation: Any, physical_id: str) -> str | None:
    """Return the stack that a resource belongs to."""
    found = _resources(cloudformation, PhysicalResourceId=physical_id)
    return str(found[0]["StackName"]) if found else None


def _physical_ids(cloudformation: Any, stack: str) -> set[str]:
    return {str(each.get("PhysicalResourceId")) for each in _resources(cloudformation, StackName=stack)}


def _resources(cloudformation: Any, **which: str) -> list[Mapping[str, Any]]:
    try:
        found: list[Mapping[str, Any]] = cloudformation.describe_stack_resources(**which)["StackResources"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":  # AWS's way to say that there is none
            raise
        return []
    return found


def _parameters(cloudformation: Any, stack: str) -> Mapping[str, str] | None:
    """Return the parameters of a stack that has been made; None if there is none."""
    try:
        [found] = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        return None
    never_made = found["StackStatus"] in ("REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE", "DELETE_COMPLETE")
    given = {each["ParameterKey"]: each.get("ParameterValue", "") for each in found.get("Parameters", ())}
    return None if never_made else given


def plan(wanted: Deployment, account: Account | None) -> Iterator[str]:
    """Yield what the deploying script has to know."""
    yield f"account\t{account.id if account else 'ACCOUNT'}"
    yield f"buckets\t{','.join(wanted.bucket_arns(account.partition if account else 'aws'))}"
    for name, vault in wanted.s3_vaults.items():
        if vault.region != wanted.region:
            yield f"dr\t{name}\t{vault.region}\t{vault.bucket}\t{vault.kms_key or ''}"
    for stack, kept in account.kept if account else ():
        yield f"kept\t{stack}\t{kept}"


def main(arguments: list[str]) -> int:
    """Check, tell, and return the exit code."""
    wanted = Deployment(os.environ)
    try:
        account, found = (None, wanted.faults()) if "--offline" in arguments else check(wanted)
    except OSError as error:
        account, found = None, [Finding("VAULTS", str(error), "name a file that can be read")]
    except ClientError as error:
        account, found = None, [Finding("credentials", str(error), "allow the caller this action")]
    for each in sorted(found, key=lambda finding: not finding.stops):
        print(
            f"{'stop' if each.stops else 'note'}  {each.field}: {each.what}\n      {each.remedy}",
            file=sys.stderr,
        )
    if any(each.stops for each in found):
        return 1
    for line in plan(wanted, account):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
