"""Events and schedules, from the call or the clock to the function or the queue."""

import json

import pytest
from botocore.exceptions import ClientError

from little_stack import AWAY, HOME, LittleStack


def test_a_schedule_fires_at_every_nominal_time_in_order(little: LittleStack) -> None:
    little.pass_time(minutes=20)

    fired = little.notes("schedule")
    assert [event["time"][11:16] for event in fired] == ["12:05", "12:10", "12:15", "12:20"]
    assert {event["detail-type"] for event in fired} == {"Scheduled Event"}
    assert all(0 < event["left"] <= 60_000 for event in fired)


def test_an_event_reaches_the_function_whose_pattern_it_matches(little: LittleStack) -> None:
    little.tell(colour="red")
    little.cloud.settle()

    [event] = little.notes("event")
    assert event["detail"] == {"colour": "red"}
    assert (event["version"], event["account"], event["region"]) == ("0", "123456789012", HOME)
    assert event["time"].startswith("2030-01-01T12:00:")


def test_an_event_reaches_a_queue_only_when_its_detail_matches(little: LittleStack) -> None:
    for result in ("succeeded", "failed"):
        event = {"source": "aws.ec2", "detail-type": "Snap", "detail": {"result": result}}
        little.cloud.bus.emit(HOME, event)
    little.cloud.settle()

    assert [json.loads(record["body"])["detail"]["result"] for record in little.notes("message")] == [
        "succeeded"
    ]


def test_an_event_of_another_region_comes_home_and_says_where_it_is_from(little: LittleStack) -> None:
    event = {"source": "aws.ec2", "detail-type": "Snap", "detail": {"result": "succeeded"}}
    little.cloud.bus.emit(AWAY, event)
    little.cloud.settle()

    [record] = little.notes("message")
    assert json.loads(record["body"])["region"] == AWAY


def test_a_failing_function_is_tried_three_times_then_its_event_is_kept(little: LittleStack) -> None:
    little.tell(fail=True)
    little.cloud.settle()
    assert len(little.notes("event")) == 1
    little.pass_time(minutes=1, seconds=1)
    assert len(little.notes("event")) == 2
    little.pass_time(minutes=2, seconds=1)
    assert len(little.notes("event")) == 3

    [kept] = little.waiting("lost")
    assert json.loads(kept)["detail"] == {"fail": True}
    little.pass_time(hours=1)
    assert len(little.notes("event")) == 3


@pytest.mark.parametrize(
    ("effect", "times"), [({"drop": True}, [0, 0]), ({"duplicate": 3}, [3, 3]), ({"delay": "2m"}, [0, 1])]
)
def test_an_event_is_lost_doubled_or_late_on_demand(
    little: LittleStack, effect: dict[str, object], times: list[int]
) -> None:
    little.cloud.faults.replace([{"match": {"event": "Told"}, "effect": effect, "count": 1}])

    little.tell(number=1)
    little.cloud.settle()
    at_once = len(little.notes("event"))
    little.pass_time(minutes=3)

    assert [at_once, len(little.notes("event"))] == times
    little.tell(number=2)
    little.cloud.settle()
    assert len(little.notes("event")) == times[1] + 1


def test_a_rule_of_any_client_fires_and_stops_when_it_is_deleted(little: LittleStack) -> None:
    little.events.put_rule(Name="mine", ScheduleExpression="rate(1 minute)")
    arn = little.cloud.functions.get("little-OnEvent").arn
    little.events.put_targets(Rule="mine", Targets=[{"Id": "f", "Arn": arn, "Input": '{"detail": {"n": 1}}'}])
    little.pass_time(minutes=3)
    assert [event["detail"] for event in little.notes("event")] == [{"n": 1}] * 3

    little.events.remove_targets(Rule="mine", Ids=["f"])
    little.events.delete_rule(Name="mine")
    little.pass_time(minutes=3)
    assert len(little.notes("event")) == 3


def test_a_schedule_that_eventbridge_does_not_take_is_refused(little: LittleStack) -> None:
    with pytest.raises(ClientError, match="ScheduleExpression is not valid"):
        little.events.put_rule(Name="bad", ScheduleExpression="cron(0 25 * * ? *)")


def test_a_tick_can_be_lost(little: LittleStack) -> None:
    little.cloud.faults.replace(
        [{"match": {"event": "Scheduled Event"}, "effect": {"drop": True}, "count": 1}]
    )
    little.pass_time(minutes=15)
    assert [event["time"][11:16] for event in little.notes("schedule")] == ["12:10", "12:15"]


def test_an_event_whose_target_is_gone_is_lost_alone(little: LittleStack) -> None:
    little.events.put_rule(Name="mine", EventPattern='{"detail-type": ["Told"]}')
    gone = [
        {"Id": "f", "Arn": f"arn:aws:lambda:{HOME}:123456789012:function:gone"},
        {"Id": "q", "Arn": f"arn:aws:sqs:{HOME}:123456789012:gone"},
    ]
    little.events.put_targets(Rule="mine", Targets=gone)
    little.tell()
    little.cloud.settle()
    assert len(little.notes("event")) == 1
