"""What a packaged template becomes, and what in one is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from little_stack import HOME, PLANS, LittleStack
from local_cloud.cloud import Cloud
from local_cloud.cloudformation.intrinsics import TemplateError
from local_cloud.cloudformation.template import StackPlan


def deploy(cloud: Cloud, folder: Path, document: dict[str, Any], **parameters: str) -> dict[str, Any]:
    """Deploy a template and answer its outputs."""
    template = folder / "template.json"
    template.write_text(json.dumps({"Resources": {}, **document}))
    [stack] = cloud.deploy([StackPlan("tried", template, HOME, parameters)])
    return stack.outputs()


def test_resources_have_what_the_template_says(little: LittleStack) -> None:
    assert little.outputs["Where"] == f"in {HOME} blue"
    attributes = little.sqs.get_queue_attributes(QueueUrl=little.outputs["WorkUrl"], AttributeNames=["All"])
    assert attributes["Attributes"]["VisibilityTimeout"] == "60"
    assert json.loads(attributes["Attributes"]["RedrivePolicy"])["deadLetterTargetArn"].endswith(":dead")
    s3 = little.cloud.client("s3", HOME)
    assert s3.get_bucket_versioning(Bucket="little-bucket")["Status"] == "Enabled"
    [rule] = s3.get_bucket_lifecycle_configuration(Bucket="little-bucket")["Rules"]
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    ttl = little.cloud.client("dynamodb", HOME).describe_time_to_live(TableName="notes")
    assert ttl["TimeToLiveDescription"]["AttributeName"] == "expires_at"


def test_deploying_is_not_counted_and_can_be_repeated_after_a_reset(little: LittleStack) -> None:
    assert little.cloud.calls.by_operation() == {}
    little.cloud.reset()
    stack, _ = little.cloud.deploy(PLANS)
    again = LittleStack(little.cloud, stack)
    again.tell()
    little.cloud.settle()
    assert len(again.notes("event")) == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"Ref": "AWS::Region"}, HOME),
        ({"Ref": "Colour"}, "red"),
        ({"Ref": "List"}, ["a", "b"]),
        ({"Fn::Sub": "${Colour}-${!Colour}-${AWS::AccountId}"}, "red-${Colour}-123456789012"),
        ({"Fn::Sub": ["${x}${Colour}", {"x": {"Ref": "Colour"}}]}, "redred"),
        ({"Fn::Join": ["/", ["a", {"Ref": "Colour"}]]}, "a/red"),
        ({"Fn::Select": ["1", {"Fn::Split": ["-", "a-b"]}]}, "b"),
        ({"Fn::If": ["IsRed", "yes", "no"]}, "yes"),
        ({"Fn::If": ["IsNotRed", "yes", "no"]}, "no"),
        ({"a": {"Ref": "AWS::NoValue"}, "b": 1}, {"b": 1}),
        ([{"Ref": "AWS::NoValue"}, 1], [1]),
        ({"Fn::GetAtt": ["Queue", "Arn"]}, f"arn:aws:sqs:{HOME}:123456789012:tried-Queue"),
        ({"Fn::GetAtt": "Role.Arn"}, "arn:aws:iam::123456789012:tried-Role"),
    ],
)
def test_an_intrinsic_function_is_carried_out(
    cloud: Cloud, tmp_path: Path, value: Any, expected: Any
) -> None:
    document = {
        "Parameters": {
            "Colour": {"Type": "String"},
            "List": {"Type": "CommaDelimitedList", "Default": "a,b"},
        },
        "Conditions": {
            "IsRed": {"Fn::Equals": [{"Ref": "Colour"}, "red"]},
            "IsNotRed": {"Fn::Not": [{"Condition": "IsRed"}]},
        },
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}, "Role": {"Type": "AWS::IAM::Role"}},
        "Outputs": {"It": {"Value": value}},
    }
    assert deploy(cloud, tmp_path, document, Colour="red")["It"] == expected


def test_a_resource_whose_condition_does_not_hold_is_not_made(cloud: Cloud, tmp_path: Path) -> None:
    never = {"Fn::Equals": ["a", "b"]}
    queue = {"Type": "AWS::SQS::Queue", "Condition": "Never"}
    deploy(cloud, tmp_path, {"Conditions": {"Never": never}, "Resources": {"Queue": queue}})
    assert "QueueUrls" not in cloud.client("sqs", HOME).list_queues()


def queue(**properties: Any) -> dict[str, Any]:
    return {"Resources": {"Q": {"Type": "AWS::SQS::Queue", "Properties": properties}}}


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"Resources": {"A": {"Type": "AWS::Glue::Job"}}}, "cannot make A, a AWS::Glue::Job"),
        (queue(Colour="red"), "does not read Colour of Q"),
        (queue(QueueName={"Fn::Cidr": []}), "does not read the intrinsic function Fn::Cidr"),
        (queue(QueueName={"Ref": "Nothing"}), "nothing is called Nothing"),
        (queue(QueueName={"Fn::GetAtt": ["Nothing", "Arn"]}), "there is no resource Nothing"),
        (queue(QueueName={"Fn::GetAtt": ["Q", "Arn"]}), "in a circle: Q -> Q"),
        ({"Parameters": {"P": {"Type": "String"}}}, "needs the parameter P"),
        ({"Parameters": {"P": {"Type": "String", "Default": "x", "AllowedValues": ["y"]}}}, "must be one of"),
        (
            {"Parameters": {"P": {"Type": "String", "Default": "x", "AllowedPattern": "y+"}}},
            "P='x' is not what",
        ),
        ({"Parameters": {"P": {"Type": "String", "Default": "xyz", "MaxLength": 2}}}, "P='xyz' is not what"),
        ({"Parameters": {"P": {"Type": "Number", "Default": 1, "MinValue": 2}}}, "P=1 is not what"),
        (
            {
                "Rules": {
                    "R": {"Assertions": [{"Assert": {"Fn::Equals": [1, 2]}, "AssertDescription": "why"}]}
                }
            },
            "R is broken: why",
        ),
        (
            {
                "Resources": {
                    "F": {
                        "Type": "AWS::Serverless::Function",
                        "Properties": {
                            "Handler": "a.b",
                            "Events": {"E": {"Type": "Kinesis", "Properties": {}}},
                        },
                    }
                }
            },
            "does not know the event source Kinesis",
        ),
    ],
)
def test_what_is_not_read_is_refused_by_name(
    cloud: Cloud, tmp_path: Path, document: dict[str, Any], problem: str
) -> None:
    with pytest.raises(TemplateError, match=problem):
        deploy(cloud, tmp_path, document)


def test_a_parameter_that_is_not_declared_is_refused(cloud: Cloud, tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="has no parameter Colour"):
        deploy(cloud, tmp_path, {}, Colour="red")
