"""Lambda: the account's concurrency, and the event source mappings of queues, which can be disabled.

https://docs.aws.amazon.com/lambda/latest/api/API_GetAccountSettings.html,
API_ListEventSourceMappings.html, API_UpdateEventSourceMapping.html

moto: its Lambda, which needs Docker, is not used.
"""

from collections.abc import Mapping
from typing import Any

from local_cloud.call import AwsError, Call, Handler, PassOn, Quotas
from local_cloud.lambda_.functions import Functions
from local_cloud.services.sqs.queues import Queues, SourceMapping


class LambdaAccount:
    """The stand-in for Lambda's own API."""

    service = "lambda"

    def __init__(self, quotas: Quotas, functions: Functions, queues: Queues) -> None:
        self._quotas = quotas
        self._functions = functions
        self._queues = queues

    def handlers(self) -> Mapping[str, Handler]:
        """Return the operations done here."""
        return {
            "GetAccountSettings": self._settings,
            "ListEventSourceMappings": self._list,
            "UpdateEventSourceMapping": self._update,
        }

    def _settings(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        most = self._quotas.concurrent_functions
        limit = {"ConcurrentExecutions": most, "UnreservedConcurrentExecutions": most}
        return {"AccountLimit": limit, "AccountUsage": {}}

    def _list(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        asked = call.params.get("EventSourceArn")
        shown = [each for each in self._queues.mappings() if asked in (None, each.queue_arn)]
        return {"EventSourceMappings": [self._shown(each) for each in shown]}

    def _update(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        for each in self._queues.mappings():
            if each.id == call.params["UUID"]:
                return self._shown(self._queues.enable(each, call.params.get("Enabled", each.enabled)))
        raise AwsError("ResourceNotFoundException", "The resource you requested does not exist.", 404)

    def _shown(self, mapping: SourceMapping) -> Mapping[str, Any]:
        limit = {"MaximumConcurrency": mapping.most_at_once} if mapping.most_at_once else {}
        return {
            "UUID": mapping.id,
            "EventSourceArn": mapping.queue_arn,
            "FunctionArn": self._functions.get(mapping.function).arn,
            "State": "Enabled" if mapping.enabled else "Disabled",
            "BatchSize": mapping.batch_size,
            "ScalingConfig": limit,
        }
