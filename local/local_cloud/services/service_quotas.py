"""Service Quotas: the quotas of EBS, as this account has them. One that nobody can raise there has no applied
value, only a default.

https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_ListServiceQuotas.html,
API_ListAWSDefaultServiceQuotas.html; the quotas: https://docs.aws.amazon.com/general/latest/gr/ebs-service.html

moto: knows no quotas but those of VPC.
"""

from collections.abc import Mapping
from typing import Any

from local_cloud.call import AwsError, Call, Handler, Quotas


class ServiceQuotas:
    """The stand-in for Service Quotas; `quotas` are those in force."""

    service = "service-quotas"

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas

    def handlers(self) -> Mapping[str, Handler]:
        """Return the operations done here."""
        return {
            "ListServiceQuotas": lambda call, _: self._listed(call, applied=True),
            "ListAWSDefaultServiceQuotas": lambda call, _: self._listed(call, applied=False),
        }

    def _listed(self, call: Call, *, applied: bool) -> Mapping[str, Any]:
        service = call.params["ServiceCode"]
        if service != "ebs":
            raise AwsError("NoSuchResourceException", f"The local cloud knows no quotas of {service}.")
        mine, usual = self._quotas, Quotas()
        quotas = {
            "Snapshots per Region": mine.snapshots_per_region if applied else usual.snapshots_per_region
        }
        if not applied:
            quotas["Concurrent snapshot copies per destination Region"] = mine.copies_per_region
        return {
            "Quotas": [
                {
                    "ServiceCode": service,
                    "ServiceName": "Amazon Elastic Block Store (Amazon EBS)",
                    "QuotaName": name,
                    "Value": float(value),
                }
                for name, value in quotas.items()
            ]
        }
