"""What an operator sets for a stage: read from the environment of the functions, checked before use.

The vaults document (`FARSHORE_VAULTS`) names where recovery points are kept. Invariant: settings that were
read are whole and consistent; every fault of the document is reported, with a pointer to it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from chalicelib.errors import InvalidInput, Problem
from chalicelib.plans.durations import parse_duration

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

PRIMARY = "primary"
# Snapshot copies at once per destination region; the quota may have been raised for an account
# (https://docs.aws.amazon.com/general/latest/gr/ebs-service.html).
COPY_SLOTS = 20
# What is let go is there this long and can be taken back.
GRACE = "24h"
LONGEST_GRACE = timedelta(days=7)
_WHAT = "the vaults document"


@dataclass(frozen=True, slots=True)
class Bucket:
    """A request bucket of EC2: how many calls at once, and how many a second from then on."""

    size: Annotated[int, Field(ge=1)]
    refill_per_second: Annotated[float, Field(gt=0)]


_BUCKETS: TypeAdapter[dict[str, Bucket]] = TypeAdapter(dict[str, Bucket])
VaultName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
Text = Annotated[str, Field(min_length=1)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class S3VaultConfig(_Document):
    """A bucket and the EBS snapshots of its region; `kms_key`, of that region, encrypts copies there."""

    kind: Literal["s3"]
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html; dots break TLS host names.
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$")]
    kms_key: Text | None = None


class OffsiteVaultConfig(_Document):
    """A container in another cloud; `provider` is any storage provider name of libcloud.

    `credentials` is the id of a Secrets Manager secret, a JSON object of the driver's arguments such as
    `key` and `secret`; `options` are more arguments of the driver (host, port, secure ...), nothing secret
    among them.
    """

    kind: Literal["libcloud"]
    provider: Text
    container: Text
    credentials: Text | None = None
    options: dict[str, JsonValue] = {}


VaultConfig = S3VaultConfig | OffsiteVaultConfig
Vaults = Mapping[str, VaultConfig]
_VAULTS: TypeAdapter[dict[VaultName, VaultConfig]] = TypeAdapter(
    dict[VaultName, Annotated[VaultConfig, Field(discriminator="kind")]]
)
_MODELS: Mapping[object, type[_Document]] = {"s3": S3VaultConfig, "libcloud": OffsiteVaultConfig}


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one stage; `vaults` holds them all by name, `primary` among them."""

    stage: str
    table: str
    jobs_queue_url: str
    primary: S3VaultConfig
    vaults: Vaults
    copy_slots: int = COPY_SLOTS
    buckets: Mapping[str, Bucket] = field(default_factory=dict)
    grace: timedelta = timedelta(days=1)

    @property
    def home_region(self) -> str:
        """Where the protected instances, the catalog and the queues are."""
        return self.primary.region

    @property
    def deployment(self) -> str:
        """What tells this deployment from every other one in its account."""
        return f"{self.home_region}/{self.stage}"


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings from environment variables.

    Raises:
        InvalidInput: one is missing, or the vaults document is not right; every fault is listed.
    """
    missing = [
        Problem(f"/{name}", environ.get(name), "this environment variable must be set")
        for name in ("FARSHORE_STAGE", "FARSHORE_TABLE", "FARSHORE_JOBS_QUEUE_URL", "FARSHORE_VAULTS")
        if not environ.get(name)
    ]
    if missing:
        raise InvalidInput("the environment", missing)
    primary, vaults = read_vaults(environ["FARSHORE_VAULTS"])
    return Settings(
        stage=environ["FARSHORE_STAGE"],
        table=environ["FARSHORE_TABLE"],
        jobs_queue_url=environ["FARSHORE_JOBS_QUEUE_URL"],
        primary=primary,
        vaults=vaults,
        copy_slots=_count(environ, "FARSHORE_COPY_SLOTS", COPY_SLOTS),
        buckets=read_buckets(environ.get("FARSHORE_REQUEST_BUCKETS") or "{}"),
        grace=_grace(environ),
    )


def read_buckets(document: str) -> Mapping[str, Bucket]:
    """Read the account's request buckets (JSON): by EC2 operation `size` and `refill_per_second`.

    Raises:
        InvalidInput: it is not right; every fault is listed.
    """
    try:
        return _BUCKETS.validate_json(document)
    except ValidationError as exc:
        problems = (
            Problem("".join(f"/{step}" for step in error["loc"]), error["input"], error["msg"])
            for error in exc.errors(include_url=False)
        )
        raise InvalidInput("FARSHORE_REQUEST_BUCKETS", problems) from exc


def _grace(environ: Mapping[str, str]) -> timedelta:
    text = environ.get("FARSHORE_GRACE") or GRACE
    if text == "0":
        return timedelta(0)
    try:
        return parse_duration(text, most=LONGEST_GRACE)
    except ValueError as fault:
        raise InvalidInput("the environment", [Problem("/FARSHORE_GRACE", text, f"{fault}, or 0")]) from fault


def _count(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise InvalidInput("the environment", [Problem(f"/{name}", text, "a whole number, 1 or more")])
    return int(text)


def read_vaults(document: str) -> tuple[S3VaultConfig, Vaults]:
    """Read a vaults document (JSON); give the primary vault, and all of them by name.

    Raises:
        InvalidInput: it is not right; every fault is listed.
    """
    try:
        vaults = _VAULTS.validate_json(document)
    except ValidationError as exc:
        raise InvalidInput(_WHAT, map(_problem, exc.errors(include_url=False))) from exc
    problems = list(_shared_buckets(vaults))
    match vaults.get(PRIMARY):
        case S3VaultConfig() as primary if not problems:
            return primary, vaults
        case S3VaultConfig():
            pass
        case None:
            problems.append(Problem(f"/{PRIMARY}", None, 'a vault of this name and of kind "s3" is required'))
        case OffsiteVaultConfig():
            problems.append(Problem(f"/{PRIMARY}/kind", "libcloud", '"s3": backups are made in S3 first'))
    raise InvalidInput(_WHAT, problems)


def _shared_buckets(vaults: Vaults) -> Iterator[Problem]:
    """Find buckets named twice: a copy beside its original is no copy."""
    owner = dict[str, str]()
    for name, vault in vaults.items():
        if isinstance(vault, S3VaultConfig) and owner.setdefault(vault.bucket, name) != name:
            expected = f"a bucket of its own, as vault {owner[vault.bucket]} keeps this one"
            yield Problem(f"/{name}/bucket", vault.bucket, expected)


def _problem(error: "ErrorDetails") -> Problem:
    # The second step of a path is the union's tag ("s3"), which the document does not have.
    path, tag = error["loc"][:1] + error["loc"][2:], error["loc"][1:2]
    pointer = "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)
    match error["type"]:
        case "extra_forbidden":
            known = ", ".join(_MODELS[tag[0]].model_fields)
            return Problem(pointer, "(not shown)", f"no such key; there are {known}")
        case "missing":
            return Problem(pointer, None, "this key is required")
        case "union_tag_invalid" | "union_tag_not_found":
            return Problem(f"{pointer}/kind", _kind(error["input"]), '"s3" or "libcloud"')
        case _:
            return Problem(pointer, error["input"], error["msg"])


def _kind(vault: Any) -> Any:
    return vault.get("kind") if isinstance(vault, dict) else None
