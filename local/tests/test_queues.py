"""Messages on their way to a function: batches, failures, delays, the dead-letter queue."""

from little_stack import LittleStack


def test_messages_reach_the_function_and_are_gone(little: LittleStack) -> None:
    little.send("one", "two")
    little.cloud.settle()

    records = little.notes("message")
    assert [record["body"] for record in records] == ["one", "two"]
    assert records[0]["eventSource"] == "aws:sqs"
    assert records[0]["eventSourceARN"].endswith(":little-Work")
    little.pass_time(minutes=5)
    assert len(little.notes("message")) == 2


def test_a_delayed_message_waits_for_its_time(little: LittleStack) -> None:
    little.send("late", delay=600)
    little.pass_time(minutes=9)
    assert little.notes("message") == []
    little.pass_time(minutes=1, seconds=1)
    assert [record["body"] for record in little.notes("message")] == ["late"]


def test_a_reported_message_alone_comes_back_and_ends_in_the_dead_letter_queue(little: LittleStack) -> None:
    little.send("good", "fail")
    little.pass_time(minutes=10)

    assert [record["body"] for record in little.notes("message")] == ["good", "fail", "fail", "fail"]
    assert [record["attributes"]["ApproximateReceiveCount"] for record in little.notes("message")][
        1:
    ] == list("123")
    assert little.waiting("dead") == ["fail"]


def test_a_batch_whose_function_breaks_comes_back_after_the_visibility_timeout(little: LittleStack) -> None:
    little.send("break")
    little.cloud.settle()
    assert len(little.notes("message")) == 1
    little.pass_time(seconds=58)
    assert len(little.notes("message")) == 1
    little.pass_time(seconds=3)
    assert len(little.notes("message")) == 2


def test_a_killed_function_counts_as_crashed_and_its_message_comes_back(little: LittleStack) -> None:
    match = {"service": "dynamodb", "operation": "PutItem", "caller": "function"}
    little.cloud.faults.replace([{"match": match, "effect": {"kill": "after"}, "count": 1}])
    little.send("once")
    little.cloud.settle()
    assert len(little.notes("message")) == 1  # the call went through before the function died

    little.pass_time(minutes=2)
    assert [record["attributes"]["ApproximateReceiveCount"] for record in little.notes("message")] == [
        "1",
        "2",
    ]
    little.pass_time(minutes=5)
    assert len(little.notes("message")) == 2
