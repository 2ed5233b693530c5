"""What rules are made of: ARNs, tags as condition keys, keys of KMS used through a service."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from local_cloud.call import ACCOUNT, Call
from local_cloud.passing import moto_backend
from local_cloud.services.iam.conditions import Context, Values
from local_cloud.services.iam.policies import Need

Rule = Callable[[Call], Iterable[Need]]
"""Returns all that a call needs."""


def of_nothing(action: str) -> Rule:
    """Return the rule of an action for which AWS knows no resource."""
    needed = (Need(action, "*"),)
    return lambda call: needed


def tags_as(kind: str, tags: Mapping[str, str], *kinds: str) -> dict[str, Values]:
    """Return tags as condition keys, such as `aws:ResourceTag/app` where `kind` is `aws:ResourceTag`."""
    return {f"{each}/{key}".lower(): value for each in (kind, *kinds) for key, value in tags.items()}


def requested_tags(tags: Mapping[str, str]) -> dict[str, Values]:
    """Return the tags that a call sets, and their keys, as condition keys."""
    return {**tags_as("aws:RequestTag", tags), "aws:tagkeys": tuple(tags)} if tags else {}


def key_arn(region: str, key: str) -> str | None:
    """Return the ARN of a customer's key, named in any way; None for one that AWS manages, or for none."""
    backend = moto_backend("kms")[ACCOUNT][region]
    name = key.rpartition(":key/")[2]
    if "alias/" in name:
        alias = name[name.index("alias/") :]
        if alias.startswith("alias/aws/"):
            return None
        name = backend.get_key_id_from_alias(alias)
    found = backend.keys.get(name)
    if found is None:
        return f"arn:aws:kms:{region}:{ACCOUNT}:key/{name}" if name else None
    return None if found.key_manager == "AWS" else str(found.arn)


def use_of_key(
    region: str, key: str | None, service: str, actions: Iterable[str], spoils: str = ""
) -> Iterator[Need]:
    """Yield the use of a key by a service in the caller's name.

    https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html. A key that AWS manages lets
    everyone of the account use it through its service.
    """
    arn = key_arn(region, key) if key else None
    if arn is None:
        return
    context: Context = {
        "kms:viaservice": f"{service}.{region}.amazonaws.com",
        "kms:calleraccount": ACCOUNT,
        "kms:grantisforawsresource": "true",
    }
    for action in actions:
        yield Need(f"kms:{action}", arn, context, spoils)
