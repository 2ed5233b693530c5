"""What of the wheels the functions need, in one place.

A test loads from the zip alone every client, every off-site provider and every module of the app.
"""

from fnmatch import fnmatch

SERVICES = (
    "autoscaling",
    "cloudwatch",
    "dynamodb",
    "ec2",
    "elbv2",
    "events",
    "kms",
    "lambda",
    "route53",
    "s3",
    "secretsmanager",
    "service-quotas",
    "sns",
    "sqs",
    "ssm",
    "sts",
)
"""The services that `chalicelib.aws.clients` makes clients of. botocore describes 400 more."""

_LEFT_OUT = (
    "*.data/*",
    "*.dist-info/*",
    "*.pyi",
    "aws_lambda_powertools/event_handler/*",
    "boto3/data/*",
    "boto3/examples/*",
    "libcloud/data/*",
    "libcloud/test/*",
    *(f"libcloud/{part}/drivers/*" for part in ("backup", "compute", "container", "dns", "loadbalancer")),
)
_SERVICE_MODELS = "botocore/data/"


def is_needed(name: str) -> bool:
    """Return whether a file of a wheel goes into the zip."""
    if name.endswith("/") or any(fnmatch(name, pattern) for pattern in _LEFT_OUT):
        return False
    model, _, file = name.removeprefix(_SERVICE_MODELS).partition("/")
    return not name.startswith(_SERVICE_MODELS) or not file or model in SERVICES
