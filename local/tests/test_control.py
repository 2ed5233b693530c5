"""The control server, as an operator with curl meets it."""

import json
import subprocess
import urllib.error
import urllib.request
from typing import Any

import pytest

from little_stack import HOME, LittleStack, role_of
from local_cloud.lambda_.functions import Function
from scaled import Scaled


def ask(little: LittleStack, method: str, path: str, document: object = None) -> tuple[int, Any]:
    """Send a request and answer status and document."""
    body = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(little.cloud.control.url + path, body, method=method)  # noqa: S310  loopback
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  loopback
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_the_clock_runs_all_that_is_due_and_says_the_time(little: LittleStack) -> None:
    status, answer = ask(little, "POST", "/clock", {"advance": "1h"})
    assert (status, answer["now"][:16]) == (200, "2030-01-01T13:00")
    assert len(little.notes("schedule")) == 12

    status, answer = ask(little, "POST", "/clock", {"now": "2030-01-01T15:30:00+02:00"})
    assert (status, answer["now"][:19]) == (200, "2030-01-01T13:30:00")
    assert ask(little, "GET", "/clock")[1]["now"][:16] == "2030-01-01T13:30"


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"advance": "1 hour"}, "'1 hour' is not a duration"),
        ({"advance": -5}, "-5 is not a duration"),
        ({"advance": "99999999999999d"}, "longer than time"),
        ({"advance": "9999999d"}, "beyond the year 9999"),
        ({"now": "yesterday"}, "not an RFC 3339 time"),
        ({"now": "2031-01-01T00:00:00"}, "has no offset"),
        ({"now": "2029-01-01T00:00:00Z"}, "is past"),
        ({"advance": "1h", "now": "2031-01-01T00:00:00Z"}, "write"),
        ([], "write"),
    ],
)
def test_a_clock_that_cannot_be_set_says_why(little: LittleStack, document: object, problem: str) -> None:
    status, answer = ask(little, "POST", "/clock", document)
    assert status == 400
    assert problem in answer["error"]


def test_calls_can_be_looked_at_and_forgotten(little: LittleStack) -> None:
    little.tell()
    little.cloud.settle()
    assert ask(little, "GET", "/calls")[1] == {
        "dynamodb": {"PutItem": 1, "UpdateItem": 1},
        "events": {"PutEvents": 1},
    }
    assert ask(little, "GET", "/calls?caller=other")[1] == {"events": {"PutEvents": 1}}
    assert ask(little, "GET", "/calls?caller=me")[0] == 400
    assert ask(little, "DELETE", "/calls") == (200, {})
    assert ask(little, "GET", "/calls")[1] == {}


def test_instances_are_named_with_their_directories(little: LittleStack) -> None:
    launched = little.cloud.client("ec2", HOME).run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1)
    instance_id = launched["Instances"][0]["InstanceId"]
    assert ask(little, "GET", "/instances")[1] == {
        instance_id: str(little.cloud.root / "instances" / instance_id)
    }


def test_faults_are_put_in_force_and_answered(little: LittleStack) -> None:
    fault = {"match": {"service": "s3", "operation": "PutObject"}, "effect": {"kill": "before"}, "skip": 2}
    late = {"match": {"event": "Told"}, "effect": {"delay": "2m"}, "count": 1}
    expected = [{**fault, "met": 0}, {**late, "effect": {"delay": "120000ms"}, "met": 0}]
    assert ask(little, "PUT", "/faults", [fault, late]) == (200, expected)
    assert ask(little, "GET", "/faults") == (200, expected)


TAGGING = {"service": "ec2", "operation": "CreateTags", "region": HOME, "params": {"Resources": ["vol-1"]}}


@pytest.mark.parametrize(
    "fault",
    [
        {"match": {"operation": "PutItem"}, "effect": {"lose": True}},
        {"match": {}, "effect": {"lose": {"code": "InternalError", "message": "Lost.", "status": 500}}},
        {"match": {"service": "ec2"}, "effect": {"hang": "600000ms"}},
        {"match": {"caller": "function"}, "effect": {"hang_before": "1500ms"}, "skip": 1, "count": 1},
        {"match": {"operation": "DeleteSnapshot"}, "effect": {"then": TAGGING}},
        {"match": {"resource": "by_type"}, "effect": {"stale": "60000ms"}},
        {"match": {"service": "ssm", "operation": "ListCommands"}, "effect": {"lag": "60000ms"}},
    ],
)
def test_every_fault_of_a_call_can_be_asked_for(little: LittleStack, fault: Any) -> None:
    assert ask(little, "PUT", "/faults", [fault]) == (200, [{**fault, "met": 0}])


@pytest.mark.parametrize(
    ("document", "places"),
    [
        ({}, ["/"]),
        ([{"match": {"caller": "other"}, "effect": {"hang": "1m"}}], ["/0"]),
        ([{"match": {"service": "s3"}, "effect": {"stale": "1m"}}], ["/0"]),
        ([{"match": {"operation": "CreateSnapshot"}, "effect": {"lag": "1m"}}], ["/0"]),
        ([{"match": {}, "effect": {"hang": "1m", "lose": True}}], ["/0/effect"]),
        (
            [{"match": {}, "effect": {"then": {"operation": "CreateTags"}}}],
            ["/0/effect/then/OutsideCall/service"],
        ),
        ([{"match": {"sevice": "s3"}, "effect": {"kill": "before"}}], ["/0/match/sevice"]),
        (
            [{"match": {}, "effect": {"kill": "soon"}}, {"effect": {}}],
            ["/0/effect/kill", "/1/match", "/1/effect"],
        ),
        ([{"match": {"event": "x"}, "effect": {"kill": "before"}}], ["/0"]),
        ([{"match": {}, "effect": {"drop": True}}], ["/0"]),
        ([{"match": {"event": "x"}, "effect": {"delay": "soon"}}], ["/0/effect/delay"]),
    ],
)
def test_faults_that_cannot_be_are_refused_with_their_places(
    little: LittleStack, document: object, places: list[str]
) -> None:
    status, answer = ask(little, "PUT", "/faults", document)
    assert status == 400
    assert [place for place in places if f"{place}:" not in answer["error"]] == []


def test_other_paths_and_methods_are_refused_with_what_there_is(little: LittleStack) -> None:
    paths = "/alarms, /calls, /capacity, /clock, /faults, /instances, /interruptions, /mails, /rebalances"
    paths += ", /sessions"
    assert ask(little, "GET", "/nope") == (404, {"error": f"GET /nope: there are {paths}"})
    assert ask(little, "PUT", "/clock") == (405, {"error": "PUT /clock: it takes GET, POST"})


def test_capacity_is_put_and_seen(little: LittleStack) -> None:
    limits = {
        "zones": [{"zone": "eu-central-1a", "type": "m5.*", "free": 2}],
        "quotas": [{"region": HOME, "vcpus": 8}],
    }
    assert ask(little, "PUT", "/capacity", limits) == (200, limits)
    assert ask(little, "GET", "/capacity") == (200, limits)
    status, answer = ask(little, "PUT", "/capacity", {"zones": [{"free": "many"}]})
    assert (status, "/zones/0/free" in answer["error"]) == (400, True)
    assert ask(little, "PUT", "/capacity", {}) == (200, {"zones": [], "quotas": []})


def test_a_spot_instance_is_warned_and_taken_back(little: LittleStack) -> None:
    scaled = Scaled(little.cloud)
    spot = {"InstanceMarketOptions": {"MarketType": "spot"}}
    launched = [
        scaled.ec2.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1, **more)["Instances"][0][
            "InstanceId"
        ]
        for more in (spot, {})
    ]
    here, other = launched
    assert ask(little, "POST", "/interruptions", {"instance": here})[0] == 400
    scaled.wait()
    assert ask(little, "POST", "/rebalances", {"instance": here}) == (200, {})
    assert ask(little, "POST", "/interruptions", {"instance": here}) == (200, {})
    (event,) = scaled.events("EC2 Spot Instance Interruption Warning")
    assert event["resources"] == [f"arn:aws:ec2:{HOME}a:instance/{here}"]
    assert event["detail"] == {"instance-id": here, "instance-action": "terminate"}
    (event,) = scaled.events("EC2 Instance Rebalance Recommendation")
    assert event["resources"] == [f"arn:aws:ec2:{HOME}:123456789012:instance/{here}"]
    assert event["detail"] == {"instance-id": here}
    scaled.wait(110)
    assert scaled.instance(here)["State"]["Name"] == "running"
    scaled.wait(11)
    gone = scaled.instance(here)
    assert gone["State"]["Name"] == "shutting-down"
    assert gone["StateReason"]["Code"] == "Server.SpotInstanceTermination"
    for document, problem in (
        ({"instance": other}, "no Spot Instance"),
        ({"instance": "i-0"}, "there is no instance"),
        ({"instance": here, "action": "sing"}, "not an action"),
        ([], "write"),
    ):
        status, answer = ask(little, "POST", "/interruptions", document)
        assert (status, problem in answer["error"]) == (400, True)


def test_curl_with_the_keys_of_a_role_may_do_what_the_role_may_and_no_more(little: LittleStack) -> None:
    role = role_of(little.cloud, {"Action": "ec2:DescribeVpcs", "Resource": "*"})
    little.cloud.functions.add(Function("looker", "a.b", HOME, role))
    keys = ask(little, "POST", "/sessions", {"function": "looker"})[1]

    def call(action: str) -> str:
        url = f"{little.cloud.aws.url}/?Action={action}&Version=2016-11-15"
        signed = ["--aws-sigv4", f"aws:amz:{HOME}:ec2", "--user"]
        signed += [f"{keys['AWS_ACCESS_KEY_ID']}:{keys['AWS_SECRET_ACCESS_KEY']}"]
        token = f"X-Amz-Security-Token: {keys['AWS_SESSION_TOKEN']}"
        done = subprocess.run(["curl", "-sS", *signed, "-H", token, url], capture_output=True, check=True)
        return done.stdout.decode()

    assert "UnauthorizedOperation" in call("DescribeInstances")
    assert "UnauthorizedOperation" not in call("DescribeVpcs")
    status, answer = ask(little, "POST", "/sessions", {"function": "nobody"})
    assert (status, "there is no function nobody; there are " in answer["error"]) == (400, True)
