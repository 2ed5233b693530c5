"""The API: JSON over API Gateway, signed by IAM."""

from chalice.app import Blueprint, IAMAuthorizer

from chalicelib.observability import SERVICE

blueprint = Blueprint(__name__)
SIGNED = IAMAuthorizer()


@blueprint.route("/status", methods=["GET"], authorizer=SIGNED)
def status() -> dict[str, str]:
    """Say what answers here."""
    return {"service": SERVICE}
