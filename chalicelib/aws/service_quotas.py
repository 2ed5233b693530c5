"""The account's quotas of a region, by the names that Service Quotas gives them.

A quota that cannot be changed there has no applied value, so the default is used for those.
https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_ListServiceQuotas.html
"""

from typing import Any

from chalicelib.aws.errors import translated_errors

EBS = "ebs"
# https://docs.aws.amazon.com/general/latest/gr/ebs-service.html
SNAPSHOTS = "Snapshots per Region"
COPIES = "Concurrent snapshot copies per destination Region"
PAGE = 100


class ServiceQuotas:
    """Service Quotas of one region."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def quotas(self, service: str) -> dict[str, int]:
        """Return the quotas of a service, by name."""
        found = self._listed("list_aws_default_service_quotas", service)
        return found | self._listed("list_service_quotas", service)

    def _listed(self, operation: str, service: str) -> dict[str, int]:
        name = "ListServiceQuotas" if operation == "list_service_quotas" else "ListAWSDefaultServiceQuotas"
        with translated_errors(name, service, self._client.meta.region_name):
            pages = self._client.get_paginator(operation).paginate(
                ServiceCode=service, PaginationConfig={"PageSize": PAGE}
            )
            return {each["QuotaName"]: int(each["Value"]) for page in pages for each in page["Quotas"]}
