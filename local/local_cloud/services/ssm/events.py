"""The EventBridge events of Run Command.

Shapes: https://docs.aws.amazon.com/systems-manager/latest/userguide/monitoring-systems-manager-event-examples.html,
"Run Command Events".
"""

from typing import Any

from local_cloud.call import ACCOUNT
from local_cloud.services.ssm.commands import Command, Invocation, iso


def command_event(command: Command) -> dict[str, Any]:
    """Return the event of a change of the whole command's status."""
    return {
        "source": "aws.ssm",
        "detail-type": "EC2 Command Status-change Notification",
        "resources": [_arn(command.region, instance_id) for instance_id in command.invocations],
        "detail": {
            "command-id": command.command_id,
            "document-name": command.document,
            "expire-after": iso(command.expires_at),
            "parameters": dict(command.request.get("Parameters", {})),
            "requested-date-time": iso(command.requested_at),
            "status": command.state.status,
        },
    }


def invocation_event(command: Command, invocation: Invocation) -> dict[str, Any]:
    """Return the event of a change of status on one instance."""
    return {
        "source": "aws.ssm",
        "detail-type": "EC2 Command Invocation Status-change Notification",
        "resources": [_arn(command.region, invocation.instance_id)],
        "detail": {
            "command-id": command.command_id,
            "document-name": command.document,
            "instance-id": invocation.instance_id,
            "requested-date-time": iso(command.requested_at),
            "status": invocation.state.status,
        },
    }


def _arn(region: str, instance_id: str) -> str:
    return f"arn:aws:ec2:{region}:{ACCOUNT}:instance/{instance_id}"
