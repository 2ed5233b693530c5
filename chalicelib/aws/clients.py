"""The SDK clients of one process: created on first use, kept, and configured in one place.

Invariant: a client made with `retries=False` never sends a request twice. AWS gives CreateSnapshots,
CopySnapshot, SendCommand and CreateMultipartUpload no idempotency token, so the SDK, repeating one whose
answer got lost, would make a second snapshot; instead the job looks for the first.
"""

import threading
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_route53 import Route53Client
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_sts import STSClient

ATTEMPTS = 3
CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 30
S3_READ_TIMEOUT_SECONDS = 300  # CopyObject and UploadPartCopy answer when all bytes are copied: up to 5 GB


class Clients:
    """Makes and keeps clients; `region` is the home region, used where a call names none."""

    def __init__(self, region: str) -> None:
        self.region = region
        # Clients of one session share its loaded service models: a second EC2 client takes 14 ms instead of
        # 120.
        self._session = boto3.Session(region_name=region)
        self._made: dict[tuple[str, str, bool], Any] = {}
        self._making = threading.Lock()  # making a client is not safe in threads; using one is

    def ec2(self, region: str | None = None, *, retries: bool = True) -> "EC2Client":
        """Return the EC2 client of a region."""
        client: EC2Client = self._client("ec2", region, retries)
        return client

    def ssm(self, *, retries: bool = True) -> "SSMClient":
        """Return the Systems Manager client of the home region."""
        client: SSMClient = self._client("ssm", None, retries)
        return client

    def s3(self, region: str | None = None, *, retries: bool = True) -> "S3Client":
        """Return the S3 client of a region; its presigned URLs name that region's own endpoint."""
        client: S3Client = self._client("s3", region, retries)
        return client

    def autoscaling(self) -> "AutoScalingClient":
        """Return the Auto Scaling client of the home region."""
        client: AutoScalingClient = self._client("autoscaling", None, retries=True)
        return client

    def elbv2(self) -> "ElasticLoadBalancingv2Client":
        """Return the Elastic Load Balancing client of the home region."""
        client: ElasticLoadBalancingv2Client = self._client("elbv2", None, retries=True)
        return client

    def route53(self) -> "Route53Client":
        """Return the Route 53 client: one service for all regions, whichever is the client's own."""
        client: Route53Client = self._client("route53", None, retries=True)
        return client

    def sqs(self) -> "SQSClient":
        """Return the SQS client of the home region."""
        client: SQSClient = self._client("sqs", None, retries=True)
        return client

    def dynamodb(self) -> "DynamoDBClient":
        """Return the DynamoDB client of the home region."""
        client: DynamoDBClient = self._client("dynamodb", None, retries=True)
        return client

    def secrets(self) -> "SecretsManagerClient":
        """Return the Secrets Manager client of the home region."""
        client: SecretsManagerClient = self._client("secretsmanager", None, retries=True)
        return client

    def events(self, region: str | None = None) -> "EventBridgeClient":
        """Return the EventBridge client of a region."""
        client: EventBridgeClient = self._client("events", region, retries=True)
        return client

    def kms(self, region: str) -> "KMSClient":
        """Return the KMS client of a region."""
        client: KMSClient = self._client("kms", region, retries=True)
        return client

    def sts(self) -> "STSClient":
        """Return the STS client of the home region, whose endpoint is its own."""
        client: STSClient = self._client("sts", None, retries=True)
        return client

    def cloudwatch(self) -> Any:
        """Return the CloudWatch client of the home region."""
        return self._client("cloudwatch", None, retries=True)

    def functions(self) -> Any:
        """Return the Lambda client of the home region."""
        return self._client("lambda", None, retries=True)

    def service_quotas(self, region: str) -> Any:
        """Return the Service Quotas client of a region."""
        return self._client("service-quotas", region, retries=True)

    def _client(self, service: str, region: str | None, retries: bool) -> Any:
        key = (service, region or self.region, retries)
        with self._making:
            if key not in self._made:
                make: Any = self._session.client  # the typed method takes only literal names
                self._made[key] = make(service, region_name=key[1], config=_config(service, retries=retries))
        return self._made[key]


def _config(service: str, *, retries: bool) -> Config:
    return Config(
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS if retries else 1},
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=S3_READ_TIMEOUT_SECONDS if service == "s3" else READ_TIMEOUT_SECONDS,
        tcp_keepalive=True,
        # The user agent that CloudTrail shows. Building the SDK's own takes a quarter of a small call's time.
        user_agent="farshore",
        # Without it the SDK presigns S3 URLs with the old signature, which most regions never accepted.
        signature_version="s3v4" if service == "s3" else None,
        # An upload must keep the checksum that it was begun with: the SDK would send a CRC32 with every part
        # of one that was begun without, and S3 refuses it. Calls that want a checksum name it.
        request_checksum_calculation="when_required" if service == "s3" else None,
        # Without it a presigned URL names the global endpoint, which redirects a request for another region's
        # bucket; its signature is not valid after the redirect.
        s3={"addressing_style": "virtual"} if service == "s3" else None,
    )
