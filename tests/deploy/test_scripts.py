"""The scripts deploy and destroy in order, ask before they change, and keep what holds data."""

import json
import re
from pathlib import Path

import pytest

from tests.deploy.scripts import ROOT, VAULTS, Run, documented, run

PAGE = ROOT / "docs" / "deploy.md"
UP = {"cloudformation describe-stacks": "UPDATE_COMPLETE"}
DATA = ("delete-table", "delete-bucket", "delete-objects")


@pytest.fixture
def vaults(tmp_path: Path) -> str:
    path = tmp_path / "prod.vaults.json"
    path.write_text(json.dumps(VAULTS))
    return str(path)


def position(done: Run, words: str) -> int:
    return next(number for number, call in enumerate(done.calls) if words in call)


def test_the_page_shows_the_very_commands_that_are_run(tmp_path: Path, vaults: str) -> None:
    given = ("DRY_RUN=1", f"VAULTS={vaults}", "ALARM_EMAIL=ops@example.com")
    shown = run("deploy.sh", tmp_path, {}, *given).shown
    destroyed = run("destroy.sh", tmp_path, {}, "DATA=delete", "CONFIRM=prod", *given).shown
    page = [[word.replace("deploy/prod.vaults.json", vaults) for word in words] for words in documented(PAGE)]
    # The page shows how one of the buckets is deleted.
    wanted = [*shown, *(words for words in destroyed if "my-farshore-dr" not in words)]
    assert wanted
    assert [words for words in wanted if words not in page] == []
    assert [words for words in page if words not in wanted] == []


def test_a_dry_run_runs_nothing(tmp_path: Path, vaults: str) -> None:
    for script, *more in (("deploy.sh",), ("destroy.sh", "DATA=delete", "CONFIRM=prod")):
        done = run(script, tmp_path, {}, "DRY_RUN=1", f"VAULTS={vaults}", *more)
        assert (done.code, done.calls) == (0, [])


def test_a_first_deployment_makes_the_dr_region_before_home_and_protects_the_table_last(
    tmp_path: Path, vaults: str
) -> None:
    done = run("deploy.sh", tmp_path, {}, "YES=1", f"VAULTS={vaults}")
    assert done.code == 0, done.said
    steps = (
        "deploy --stack-name farshore-region",
        "wait stack-create-complete --stack-name farshore-prod-dr",
        "CatalogProtection=off",
        "wait stack-create-complete --stack-name farshore-prod ",
        "CatalogProtection=on",
    )
    order = [position(done, words) for words in steps]
    assert order == sorted(order)


def test_a_later_deployment_updates_and_keeps_the_table_protected(tmp_path: Path) -> None:
    done = run("deploy.sh", tmp_path, UP, "YES=1")
    assert done.code == 0, done.said
    assert done.made("wait stack-update-complete --stack-name farshore-prod")
    assert done.made("CatalogProtection=on")
    assert not done.made("CatalogProtection=off")


def test_a_deployment_without_changes_executes_nothing(tmp_path: Path) -> None:
    done = run("deploy.sh", tmp_path, UP | {"--no-execute-changeset": "No changes to deploy."}, "YES=1")
    assert done.code == 0, done.said
    assert not done.made("execute-change-set")


def test_the_key_of_the_alarms_topic_may_go_with_the_topic(tmp_path: Path) -> None:
    changes = "Remove\t-\tAWS::KMS::Key\tAlarmKey\nRemove\t-\tAWS::SNS::Topic\tAlarmTopic"
    done = run("deploy.sh", tmp_path, UP | {"describe-change-set": changes}, "YES=1")
    assert done.code == 0, done.said


@pytest.mark.parametrize(
    "change",
    [
        "Modify\tTrue\tAWS::DynamoDB::Table\tCatalog",
        "Modify\tConditional\tAWS::S3::Bucket\tVaultBucket",
        "Remove\t-\tAWS::S3::Bucket\tVaultBucket",
        "Remove\t-\tAWS::KMS::Key\tKey",
    ],
)
def test_a_change_set_that_loses_data_is_refused_and_named(tmp_path: Path, change: str) -> None:
    others = "Modify\tTrue\tAWS::Lambda::Permission\tPermission\nModify\tFalse\tAWS::S3::Bucket\tOther"
    done = run("deploy.sh", tmp_path, UP | {"describe-change-set": f"{others}\n{change}"}, "YES=1")
    assert done.code == 1
    assert f"stop  {change}" in done.said
    assert "Permission" not in done.said.partition("was not done")[2]
    assert done.made("delete-change-set")
    assert not done.made("execute-change-set")


def test_what_replaces_no_data_is_carried_out(tmp_path: Path) -> None:
    harmless = "Modify\tTrue\tAWS::S3::BucketPolicy\tPolicy\nModify\tFalse\tAWS::DynamoDB::Table\tCatalog"
    done = run("deploy.sh", tmp_path, UP | {"describe-change-set": harmless}, "YES=1")
    assert done.code == 0, done.said
    assert done.made("execute-change-set")


def test_nothing_is_changed_where_nobody_can_be_asked(tmp_path: Path) -> None:
    done = run("deploy.sh", tmp_path, UP)
    assert done.code == 1
    assert "set YES=1" in done.said
    assert not done.made("execute-change-set")


def test_a_stack_that_never_succeeded_is_deleted_and_made_again(tmp_path: Path) -> None:
    done = run(
        "deploy.sh", tmp_path, {"describe-stacks --stack-name farshore-prod": "ROLLBACK_COMPLETE"}, "YES=1"
    )
    assert done.code == 0, done.said
    assert position(done, "wait stack-delete-complete") < position(done, "CatalogProtection=off")
    assert done.made("wait stack-create-complete --stack-name farshore-prod")


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ("UPDATE_ROLLBACK_FAILED", "continue-update-rollback --stack-name farshore-prod"),
        ("DELETE_FAILED", "delete-stack --stack-name farshore-prod"),
        ("ROLLBACK_FAILED", "delete-stack --stack-name farshore-prod"),
        ("UPDATE_IN_PROGRESS", "wait until that is over"),
    ],
)
def test_a_stack_that_may_hold_data_is_never_deleted_to_be_made_again(
    tmp_path: Path, status: str, says: str
) -> None:
    done = run("deploy.sh", tmp_path, UP | {"describe-stacks --stack-name farshore-prod": status}, "YES=1")
    assert done.code == 1
    assert says in done.said
    assert not done.made("delete-stack")


def test_a_failure_names_its_events(tmp_path: Path) -> None:
    broken = {"wait stack-update": "!ROLLBACK", "describe-stack-events": "Tick\tno such role"}
    done = run("deploy.sh", tmp_path, UP | broken, "YES=1")
    assert done.code == 1
    assert "no such role" in done.said
    assert "mend what these events name and deploy again" in done.said


def test_aws_that_refuses_is_not_taken_for_nothing_deployed(tmp_path: Path) -> None:
    done = run("deploy.sh", tmp_path, {"describe-stacks": "!AccessDenied: not authorized"}, "YES=1")
    assert done.code == 1
    assert "AccessDenied" in done.said
    assert not done.made(" deploy ")


def test_a_log_role_and_a_bucket_that_are_there_are_not_made_again(tmp_path: Path) -> None:
    there = {"s3api head-bucket": "{}", "apigateway get-account": "arn:aws:iam::111122223333:role/logs"}
    done = run("deploy.sh", tmp_path, there, "YES=1")
    assert done.made("MakeBucket=no MakeLogRole=no")


def test_the_parameters_are_those_of_the_template(tmp_path: Path) -> None:
    [listed] = re.findall(r"<<'LIST'\n(.*?)\nLIST", (ROOT / "deploy" / "deploy.sh").read_text(), re.DOTALL)
    given = [f"{line.split(' ')[1]}=1" for line in listed.splitlines() if "ALARM_EMAIL" not in line]
    done = run("deploy.sh", tmp_path, UP, "YES=1", *given)
    [call] = [each for each in done.calls if "Stage=prod" in each]
    passed = {word.partition("=")[0] for word in call.partition("--parameter-overrides ")[2].split(" ")}
    declared = json.loads((ROOT / ".chalice" / "resources.json").read_text())["Parameters"].keys()
    assert passed == declared - {"AlarmEmail"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose deploy/prod.env is the test's own."""
    folder = tmp_path / "checkout"
    (folder / "deploy").mkdir(parents=True)
    for script in ("stage.sh", "deploy.sh"):
        (folder / "deploy" / script).symlink_to(ROOT / "deploy" / script)
    return folder


def test_the_settings_file_gives_way_to_the_environment(tmp_path: Path, checkout: Path) -> None:
    text = '# a comment\n\nREGION=us-east-1\nGRACE=2h\nREQUEST_BUCKETS={"a b": $(touch x)}'
    (checkout / "deploy" / "prod.env").write_text(text)
    done = run("deploy.sh", tmp_path, UP, "YES=1", checkout=checkout)
    assert done.code == 0, done.said
    assert done.made('RequestBuckets={"a b": $(touch x)}')
    assert done.made("Grace=2h")
    assert not done.made("us-east-1")
    assert not (checkout / "x").exists()


def test_a_mistyped_setting_is_named(tmp_path: Path, checkout: Path) -> None:
    (checkout / "deploy" / "prod.env").write_text("REGON=us-east-1\n")
    done = run("deploy.sh", tmp_path, UP, "YES=1", checkout=checkout)
    assert done.code == 1
    assert "deploy/prod.env: REGON is none of the settings" in done.said
    assert done.calls == []


def test_a_stage_that_is_not_named_is_asked_for(tmp_path: Path) -> None:
    assert "STAGE is missing" in run("deploy.sh", tmp_path, UP, "STAGE=").said
    assert "REGION is missing" in run("deploy.sh", tmp_path, UP, "REGION=").said


def test_every_setting_is_in_the_example_and_on_the_page() -> None:
    [listed] = re.findall(r'VARIABLES="(.*?)"', (ROOT / "deploy" / "stage.sh").read_text(), re.DOTALL)
    names = set(listed.replace("\\\n", "").split())
    assert set(re.findall(r"^#?([A-Z_]+)=", (ROOT / "deploy" / "example.env").read_text(), re.M)) == names
    settings = PAGE.read_text().partition("## Deploy")[0]
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", settings, re.M)) == names | {"STAGE"}


def test_destroying_keeps_the_data(tmp_path: Path, vaults: str) -> None:
    done = run("destroy.sh", tmp_path, UP, "YES=1", f"VAULTS={vaults}")
    assert done.code == 0, done.said
    assert position(done, "delete-stack --stack-name farshore-prod ") < position(done, "farshore-prod-dr")
    assert not any(done.made(words) for words in DATA)
    assert "Kept: the table farshore-prod" in done.said
    assert "my-farshore-dr in eu-west-1" in done.said


@pytest.mark.parametrize("confirmed", ["", "yes", "production"])
def test_data_is_deleted_only_if_it_is_said_twice(tmp_path: Path, confirmed: str) -> None:
    done = run("destroy.sh", tmp_path, UP, "YES=1", "DATA=delete", f"CONFIRM={confirmed}")
    assert done.code == 1
    assert "my-farshore-home" in done.said
    assert "CONFIRM=prod" in done.said
    assert not done.made("delete")


def test_data_that_is_to_go_goes_after_the_stacks(tmp_path: Path) -> None:
    objects = {"s3api head-bucket": "{}", "list-object-versions": '{"Objects": []}'}
    done = run("destroy.sh", tmp_path, UP | objects, "YES=1", "DATA=delete", "CONFIRM=prod")
    assert done.code == 0, done.said
    assert position(done, "wait stack-delete-complete") < position(done, "delete-table")
    assert done.made("delete-bucket --bucket my-farshore-home")


def test_a_bucket_that_is_not_the_stacks_is_not_deleted(tmp_path: Path) -> None:
    other = {"describe-stack-resources": "another-bucket"}
    done = run("destroy.sh", tmp_path, UP | other, "YES=1", "DATA=delete", "CONFIRM=prod")
    assert done.code == 1
    assert "is another-bucket, not my-farshore-home" in done.said
    assert not done.made("delete-")
