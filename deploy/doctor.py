"""Examines a deployed stage through its API, and prints what it finds for a person: `make doctor STAGE=prod`.

Settings are variables: STAGE, REGION, STACK or API (the API's address), CANARY=PLAN or PLAN/RULE, JSON=1; of
the first ones deploy/STAGE.env is read, too. Exit codes: 0 nothing failed, 1 a check or the canary failed, 2
the stage could not be asked.
"""

import json
import os
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError, ClientError

Document = dict[str, Any]
# API Gateway answers within 29 s.
TIMEOUT_SECONDS = 35
LOOKS_AGAIN_AFTER_SECONDS = 5
# Probes and events take seconds; a probe that is tried again takes ten minutes and is not waited for.
EXAMINED_WITHIN_SECONDS = 90
CANARY_WITHIN_SECONDS = 6 * 60 * 60
WIDTH = 80
LABEL = 14
COLOURS = {"ok": "32", "unknown": "36", "warning": "33", "failed": "31"}
# The checks that are begun by POST /doctor, and end later.
BEGUN = ("vaults", "events")
FINAL = ("COMPLETED", "FAILED", "CANCELLED")


class CannotAsk(Exception):
    """The stage could not be asked; the text says why, and what to do."""


class Refused(Exception):
    """The API refused a request, with this status and problem document."""

    def __init__(self, status: int, why: str) -> None:
        self.status = status
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class Client:
    """Sends signed requests to the API of a stage."""

    api: str
    region: str
    session: boto3.Session

    def ask(self, method: str, path: str, body: Document | None = None) -> Document:
        """Return what is answered.

        Raises:
            Refused: with a problem document.
            CannotAsk: there was no answer.
        """
        content = json.dumps(body).encode() if body is not None else None
        url = f"{self.api.rstrip('/')}{path}"
        headers = {"Content-Type": "application/json"} if content else {}
        signed = AWSRequest(method=method, url=url, data=content, headers=headers)
        credentials = self.session.get_credentials()
        if credentials is None:
            raise CannotAsk("no AWS credentials were found: set AWS_PROFILE, or sign in")
        SigV4Auth(credentials, "execute-api", self.region).add_auth(signed)
        request = urllib.request.Request(url, content, dict(signed.headers), method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                found: Document = json.loads(answer.read())
        except urllib.error.HTTPError as refusal:
            raise Refused(refusal.code, _why(refusal.read())) from refusal
        except (OSError, ValueError) as error:
            raise CannotAsk(f"{url} does not answer: {error}") from error
        return found


def _why(body: bytes) -> str:
    try:
        problem = json.loads(body)
    except ValueError:
        return body.decode(errors="replace")[:500]
    errors = [f"{each['pointer']}: {each['expected']}" for each in problem.get("errors", ())]
    return "; ".join([str(problem.get("detail") or problem.get("message") or problem), *errors])


def settings_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables, with those of deploy/STAGE.env that the environment does not set."""
    stage = environ.get("STAGE") or "prod"
    file = Path(__file__).with_name(f"{stage}.env")
    lines = file.read_text().splitlines() if file.exists() else []
    named = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
    given = {name: text for name, text in environ.items() if text}
    return {"REGION": region, "STACK": f"farshore-{stage}", **named, **given, "STAGE": stage}


def client_of(settings: Mapping[str, str]) -> Client:
    """Return the client of a stage, whose address is in the outputs of its stack unless it is given.

    Raises:
        CannotAsk: there is no such stack, or it may not be looked at.
    """
    region = settings["REGION"]
    if not region:
        raise CannotAsk("REGION is missing: name the home region, as in REGION=eu-central-1")
    session = boto3.Session(region_name=region)
    if api := settings.get("API"):
        return Client(api, region, session)
    stack = settings["STACK"]
    try:
        found = session.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    except (BotoCoreError, ClientError) as error:
        why = f"stack {stack} of {region} cannot be looked at: {error}"
        raise CannotAsk(f"{why}; name it with STACK=..., or the API with API=https://...") from error
    outputs = {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", ())}
    if "EndpointURL" not in outputs:
        raise CannotAsk(f"stack {stack} has no output EndpointURL ({found['StackStatus']}): deploy it again")
    return Client(outputs["EndpointURL"], region, session)


def caller(client: Client, account: str | None) -> Document:
    """Return who you are, as one more check: the stage's account should be yours."""
    try:
        you = client.session.client("sts").get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        remedy = "sign in again"
        return {"check": "you", "state": "unknown", "reason": f"who you are: {error}", "remedy": remedy}
    reason = f"{you['Arn']} in account {you['Account']}"
    if account in (None, you["Account"]):
        return {"check": "you", "state": "ok", "reason": reason, "remedy": None}
    reason += f", and the stage runs in {account}"
    return {"check": "you", "state": "warning", "reason": reason, "remedy": "is this the stage you mean?"}


def order_of(canary: str | None) -> Document:
    """Return what POST /doctor is asked for."""
    if not canary:
        return {}
    plan, _, rule = canary.partition("/")
    which = {"plan": plan, **({"rule": rule} if rule else {})}
    return {"canary": {**which, "keep": "1d", "note": "canary of the doctor"}}


@dataclass(frozen=True, slots=True)
class Examination:
    """One examination of a stage; `say` is told how it goes on, `sleep` passes the time between looks."""

    client: Client
    say: Callable[[str], None]
    sleep: Callable[[float], None]

    def run(self, canary: str | None) -> Document:
        """Begin what is examined by doing it, wait for that, and return the document of GET /doctor.

        It has one key more with a canary: how that ended.
        """
        jobs: list[str] = []
        try:
            begun = self.client.ask("POST", "/doctor", order_of(canary))
            jobs = begun["canary"]
            self.say(f"probing vaults: {', '.join(begun['probes'])}")
        except Refused as refusal:
            if canary or refusal.status != 403:
                raise CannotAsk(f"POST /doctor: {refusal}") from refusal
            self.say("you may not POST /doctor, so this is what was examined last")
        found = self._examined()
        found["checks"].insert(0, caller(self.client, found["account"]))
        if canary:
            found["canary"] = [self._followed(job) for job in jobs]
        return found

    def _examined(self) -> Document:
        """Return the checks, once those that take time are known or their time is over."""
        looks = range(0, EXAMINED_WITHIN_SECONDS, LOOKS_AGAIN_AFTER_SECONDS)
        for _ in looks:
            found = self._get("/doctor")
            waits = [each["check"] for each in found["checks"] if is_under_way(each)]
            if not waits:
                return found
            self.say(f"waiting for {' and '.join(waits)}")
            self.sleep(LOOKS_AGAIN_AFTER_SECONDS)
        return found

    def _followed(self, job: str) -> Document:
        """Return how a backup of the canary ended."""
        for _ in range(0, CANARY_WITHIN_SECONDS, LOOKS_AGAIN_AFTER_SECONDS):
            found = self._get(f"/jobs/{job}")
            if found["state"] in FINAL:
                break
            self.say(f"{job}: {found['reason']}")
            self.sleep(LOOKS_AGAIN_AFTER_SECONDS)
        if found["state"] != "COMPLETED":
            return {"job": job, "restorable": False, "says": f"{job} is {found['state']}: {found['reason']}"}
        return self._restorable(job, self._get(f"/recovery-points/{found['recovery_point']}"))

    def _restorable(self, job: str, point: Document) -> Document:
        """Return whether a point can be restored from the vault it was made in."""
        artefact: Document = next((each for each in point["artefacts"] if each["vault"] == "primary"), {})
        proof = (
            "all its snapshots are complete"
            if point["kind"] == "snapshot"
            else artefact.get("verified_at") and f"it was read back and verified at {artefact['verified_at']}"
        )
        good = proof if point["state"] == artefact.get("state") == "AVAILABLE" else None
        why_not = point.get("suspect") or (None if good else f"it is {point['state']}")
        what = f"{point['id']} of {point['service']} ({point['kind']}, {point['size_bytes']:,} bytes)"
        says = f"{what} cannot be relied on: {why_not}" if why_not else f"{what} can be restored: {good}"
        return {"job": job, "recovery_point": point["id"], "restorable": why_not is None, "says": says}

    def _get(self, path: str) -> Document:
        try:
            return self.client.ask("GET", path)
        except Refused as refusal:
            raise CannotAsk(f"GET {path}: {refusal}") from refusal


def is_under_way(check: Document) -> bool:
    """Return whether something of a check that was begun has not ended."""
    return check["check"] in BEGUN and "under way" in check["reason"]


def report(found: Document, *, coloured: bool) -> Iterator[str]:
    """Yield the lines of what was found, for a person."""
    yield f"{found['deployment']}, examined at {found['examined_at']}"
    yield ""
    for each in found["checks"]:
        yield from row(each["check"], each["state"], each["reason"], each["remedy"], coloured=coloured)
    for each in found.get("canary", ()):
        state = "ok" if each["restorable"] else "failed"
        yield from row("canary", state, each["says"], None, coloured=coloured)
    states = [each["state"] for each in found["checks"]]
    states += ["ok" if each["restorable"] else "failed" for each in found.get("canary", ())]
    counts = {state: states.count(state) for state in COLOURS}
    said = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
    yield ""
    yield f"{'healthy' if is_healthy(found) else 'NOT healthy'}: {said}"


def row(check: str, state: str, reason: str, remedy: str | None, *, coloured: bool) -> Iterator[str]:
    """Yield the lines of one check."""
    shown = f"\033[{COLOURS[state]}m{state:<8}\033[0m" if coloured else f"{state:<8}"
    indent = " " * (LABEL + 9)
    text = [reason, *([f"-> {remedy}"] if remedy else [])]
    lines = [
        line for part in text for line in textwrap.wrap(part, WIDTH - len(indent), break_on_hyphens=False)
    ]
    yield f"{check:<{LABEL}}{shown} {lines[0] if lines else ''}"
    yield from (f"{indent}{line}" for line in lines[1:])


def is_healthy(found: Document) -> bool:
    """Return whether nothing failed."""
    return bool(found["healthy"]) and all(each["restorable"] for each in found.get("canary", ()))


def examine(
    environ: Mapping[str, str], out: TextIO, err: TextIO, sleep: Callable[[float], None] = time.sleep
) -> int:
    """Examine the stage that the environment names; return the exit code."""
    settings = settings_of(environ)

    def say(text: str) -> None:
        print(f"  {text}", file=err, flush=True)

    try:
        found = Examination(client_of(settings), say, sleep).run(settings.get("CANARY"))
    except CannotAsk as error:
        print(f"stop  {error}", file=err)
        return 2
    if settings.get("JSON") not in (None, "0"):
        print(json.dumps(found, indent=2), file=out)
    else:
        print("\n".join(report(found, coloured=out.isatty() and "NO_COLOR" not in environ)), file=out)
    return 0 if is_healthy(found) else 1


if __name__ == "__main__":
    sys.exit(examine(os.environ, sys.stdout, sys.stderr))
