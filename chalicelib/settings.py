"""The settings of a stage, read from the environment of the functions and checked before use.

The primary vault is what the stack made; the vaults document (`FARSHORE_VAULTS`) lists where else recovery
points are kept. Invariant: settings that were read are complete and consistent, with each other and with what
the functions may reach; every fault is reported, with a pointer to it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, JsonValue

from chalicelib.errors import InvalidInput, Misconfigured, Problem
from chalicelib.plans.declared import Declared, Fault, Maybe, worded
from chalicelib.plans.durations import Duration
from chalicelib.plans.reading import load_document
from chalicelib.plans.rules import Kind
from chalicelib.plans.values import PRIMARY
from chalicelib.plans.words import near
from chalicelib.vaults.providers import PROVIDERS

VAULTS = "FARSHORE_VAULTS"
_JSON = (VAULTS, "FARSHORE_REQUEST_BUCKETS")
# The longest grace.
LONGEST_GRACE = timedelta(days=7)
_VAULTS = "a JSON object of vaults by their names"
Text = Annotated[str, Field(min_length=1, title="text")]
Region = Annotated[
    str,
    Field(pattern=r"^[a-z]{2,4}(-[a-z]+)+-\d$", examples=["eu-west-1"]),
    worded("a region of AWS", title="region"),
]
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html; dots break TLS host names.
BucketName = Annotated[
    str,
    Field(pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$"),
    worded("a bucket's name: 3 to 63 lower-case letters, digits and -", title="bucket"),
]
# The functions may read no other secret.
SecretId = Annotated[
    str,
    Field(pattern=r"^(arn:[a-z-]+:secretsmanager:[a-z0-9-]+:\d{12}:secret:)?farshore/[A-Za-z0-9/_+=.@-]+$"),
    worded(
        "the name or ARN of a secret whose name begins with farshore/: the functions may read no other",
        title="text",
    ),
]


class Bucket(Declared):
    """A request bucket of EC2."""

    size: Annotated[int, Field(ge=1, title="whole number", description="how many calls at once")]
    refill_per_second: Annotated[
        float, Field(gt=0, title="number", description="how many calls a second after that")
    ]


class VaultConfigBase(Declared):
    """What differs between kinds of vaults, as facts of their configuration.

    `copy_methods` has, for each kind of recovery point that such a vault can hold, the method of the copy job
    that puts a point into it. In a vault that `stages_files`, the segments of a file can be assembled.
    """

    hides_values: ClassVar = True
    copy_methods: ClassVar[Mapping[Kind, str]]
    stages_files: ClassVar[bool] = False

    @property
    def snapshot_region(self) -> str | None:
        """The region whose EBS snapshots belong to the vault; None if it holds none."""
        return None


class S3VaultConfig(VaultConfigBase):
    """A bucket and the EBS snapshots of its region."""

    copy_methods: ClassVar = {Kind.SNAPSHOT: "snapshot", Kind.SERVICE: "object"}
    stages_files: ClassVar = True

    kind: Annotated[Literal["s3"], Field(description="a bucket of S3")] = "s3"
    region: Annotated[Region, Field(description="where the bucket is, and where the snapshots are kept")]
    bucket: Annotated[
        BucketName, Field(description="where files and manifests are kept; each vault has one of its own")
    ]
    kms_key: Annotated[
        Maybe[Text],
        Field(
            description="a key of that region, which encrypts copies there",
            json_schema_extra={"x-default": "the bucket's and EBS's own encryption"},
        ),
    ] = None

    @property
    def snapshot_region(self) -> str | None:
        """The region of the bucket."""
        return self.region


class OffsiteVaultConfig(VaultConfigBase):
    """A container in another cloud."""

    copy_methods: ClassVar = {Kind.SERVICE: "segments"}

    kind: Annotated[Literal["libcloud"], Field(description="a storage service that libcloud supports")] = (
        "libcloud"
    )
    provider: Annotated[
        Text, Field(description="the name of any storage provider of libcloud", examples=["azure_blobs"])
    ]
    container: Annotated[Text, Field(description="where files and manifests are kept; it must exist")]
    credentials: Annotated[
        Maybe[SecretId],
        Field(
            description="a Secrets Manager secret in the home region, named `farshore/...`: a JSON object of "
            "the driver's arguments, such as `key` and `secret`"
        ),
    ] = None
    options: Annotated[
        dict[str, JsonValue],
        Field(
            title="mapping",
            description="more arguments of the driver (`host`, `port`, `secure`), nothing secret among them",
        ),
    ] = Field(default_factory=dict)

    @classmethod
    def ties(cls, given: Mapping[str, Any], context: Any) -> Iterator[Fault]:
        """Yield the fault of a provider that libcloud does not have."""
        provider = given.get("provider")
        if isinstance(provider, str) and provider and provider.lower() not in PROVIDERS:
            expected = f"a storage provider of libcloud, such as azure_blobs{near(provider, PROVIDERS)}"
            yield ("provider",), expected


VaultName = Annotated[
    str,
    Field(pattern=r"^[a-z][a-z0-9-]{0,62}$"),
    worded("a vault's name: 1 to 63 lower-case letters, digits and -, beginning with a letter"),
]
VaultConfig = S3VaultConfig | OffsiteVaultConfig


def _count(text: object) -> object:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdecimal() else text


def _separate(text: object) -> object:
    return tuple(filter(None, text.split(","))) if isinstance(text, str) else text


def _zero(text: object) -> object:
    return "0s" if text == "0" else text


class Settings(Declared):
    """The settings of one stage, by the environment variables they are read from."""

    stage: Annotated[
        Text, Field(alias="FARSHORE_STAGE", description="the name of the stage; the stack sets it")
    ]
    table: Annotated[Text, Field(alias="FARSHORE_TABLE", description="the catalog; the stack sets it")]
    jobs_queue_url: Annotated[
        Text, Field(alias="FARSHORE_JOBS_QUEUE_URL", description="the queue of jobs; the stack sets it")
    ]
    deletions_queue_url: Annotated[
        Text,
        Field(
            alias="FARSHORE_DELETIONS_QUEUE_URL",
            description="the queue of jobs that delete; the stack sets it",
        ),
    ]
    home_region: Annotated[
        Region,
        Field(
            alias="AWS_REGION",
            description="where the functions run and the protected instances are; Lambda sets it",
        ),
    ]
    vault_bucket: Annotated[
        BucketName,
        Field(
            alias="FARSHORE_VAULT_BUCKET", description="the bucket of the vault `primary`; the stack sets it"
        ),
    ]
    vault_key: Annotated[
        Maybe[Text],
        Field(
            alias="FARSHORE_VAULT_KEY",
            description="the ARN of the KMS key of that bucket; the stack sets it",
            json_schema_extra={"x-default": "S3's own encryption"},
        ),
    ] = None
    granted_buckets: Annotated[
        tuple[str, ...],
        BeforeValidator(_separate),
        Field(
            alias="FARSHORE_OTHER_BUCKETS",
            title="ARNs, separated by commas",
            description="the other buckets that the functions may use; the stack sets it",
        ),
    ] = ()
    others: Annotated[
        dict[VaultName, Annotated[VaultConfig, Field(discriminator="kind")]],
        worded(_VAULTS, title="JSON, see below"),
        Field(alias=VAULTS, description="where recovery points are kept beside `primary`"),
    ] = Field(default_factory=dict)
    # The quota may have been raised for an account
    # (https://docs.aws.amazon.com/general/latest/gr/ebs-service.html).
    copy_slots: Annotated[
        int,
        Field(ge=1),
        BeforeValidator(_count),
        Field(
            alias="FARSHORE_COPY_SLOTS",
            title="whole number",
            description="snapshot copies at once per destination region",
        ),
    ] = 20
    grace: Annotated[
        timedelta,
        Duration(timedelta(0), LONGEST_GRACE),
        BeforeValidator(_zero),
        Field(
            alias="FARSHORE_GRACE",
            description="how long what is let go can still be undeleted; `0` for not at all",
        ),
    ] = timedelta(days=1)
    buckets: Annotated[
        dict[str, Bucket],
        Field(
            alias="FARSHORE_REQUEST_BUCKETS",
            title="JSON",
            description="the account's own request buckets, by operation, where they differ from EC2's",
            examples=[{"CopySnapshot": {"size": 50, "refill_per_second": 5}}],
        ),
    ] = Field(default_factory=dict)

    @cached_property
    def primary(self) -> S3VaultConfig:
        """The vault that every recovery point is made in."""
        made = {"kind": "s3", "region": self.home_region, "bucket": self.vault_bucket}
        return S3VaultConfig.model_validate(made | ({"kms_key": self.vault_key} if self.vault_key else {}))

    @cached_property
    def vaults(self) -> Mapping[str, VaultConfig]:
        """All vaults, by name."""
        return {**self.others, PRIMARY: self.primary}

    @property
    def copy_methods(self) -> Mapping[str, Mapping[Kind, str]]:
        """How points get into each vault."""
        return {name: config.copy_methods for name, config in self.vaults.items()}

    @property
    def deployment(self) -> str:
        """What distinguishes this deployment from all others in its account."""
        return f"{self.home_region}/{self.stage}"

    @classmethod
    def ties(cls, given: Mapping[str, Any], context: Any) -> Iterator[Fault]:
        """Yield faults of vaults that do not fit together, or not to what the stack has made and granted."""
        vaults = given.get(VAULTS)
        if not isinstance(vaults, Mapping):
            return
        for key, value, expected in _contradictions(vaults.get(PRIMARY), given):
            if value != expected:
                right = f"{expected}, as the stack has it" if expected else "left out: the stack has none"
                yield (VAULTS, PRIMARY, key), f"{right}; `primary` need not be declared"
        owners = {given.get("FARSHORE_VAULT_BUCKET"): PRIMARY}
        granted = {arn.rpartition(":")[2] for arn in given.get("FARSHORE_OTHER_BUCKETS", "").split(",")}
        for vault, config in vaults.items():
            bucket = config.get("bucket") if isinstance(config, Mapping) else None
            if vault == PRIMARY or not isinstance(bucket, str):
                continue
            if owners.setdefault(bucket, vault) != vault:
                # A copy in the bucket of its original protects nothing.
                yield (
                    (VAULTS, vault, "bucket"),
                    f"a bucket of its own, as vault {owners[bucket]} has this one",
                )
            elif bucket not in granted:
                expected = "a bucket that the functions may use: its ARN belongs into OtherVaultBucketArns"
                yield (VAULTS, vault, "bucket"), expected


def _contradictions(declared: object, given: Mapping[str, Any]) -> Iterator[tuple[str, object, object]]:
    """Yield each key of a declared primary vault with its value and the one that the stack has."""
    made = {
        "kind": "s3",
        "region": given.get("AWS_REGION"),
        "bucket": given.get("FARSHORE_VAULT_BUCKET"),
        "kms_key": given.get("FARSHORE_VAULT_KEY"),
    }
    for key, value in declared.items() if isinstance(declared, Mapping) else ():
        if key in made:
            yield key, value, made[key]


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings in environment variables.

    Raises:
        Misconfigured: a setting is missing or wrong; every fault is listed.
    """
    names = {field.alias: environ.get(field.alias or "") for field in Settings.model_fields.values()}
    given: dict[str, Any] = {name: text for name, text in names.items() if name and text}
    problems: list[Problem] = []
    for name in _JSON:
        try:
            given |= {name: load_document(given[name], is_yaml=False)} if name in given else {}
        except InvalidInput as fault:
            problems += (replace(each, pointer=f"/{name}{each.pointer}") for each in fault.problems)
    if problems:
        raise Misconfigured("the environment", problems)
    try:
        return Settings.read(given, "the environment")
    except InvalidInput as fault:
        raise Misconfigured("the environment", fault.problems) from None
