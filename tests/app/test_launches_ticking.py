"""An instance that goes while its restore script runs, on a clock that ticks: nothing waits for scripts."""

from collections.abc import Iterator

import pytest

from local_cloud.call import Quotas
from tests.app.conftest import Ground, ground_below
from tests.app.test_launches import KEEPS_DATA, launches, planned, with_a_point
from tests.support.deployment import Deployment, service_rule
from tests.support.groups import HOOKS, Group


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground_below(tmp_path_factory.mktemp("ticking"), Quotas(), ticking=True) as ground:
        yield ground


def test_a_launch_that_is_terminated_meanwhile_ends_and_is_not_backed_up(app: Deployment) -> None:
    planned(app, service_rule(**KEEPS_DATA | {"restore": "echo half > data; touch began; sleep 60"}))
    with_a_point(app)
    group = Group(app, hooks=HOOKS)
    app.pass_time(seconds=5)
    (instance,) = group.states()
    app.once_written(instance, "began", lambda: group.drop(instance), seconds=60)
    app.pass_time(minutes=10)

    (launch, *_) = launches(app)
    assert launch["state"] == "FAILED"
    assert "no longer waits" in launch["reason"]
    assert [job for job in app.jobs(kind="backup") if "goes" in job["reason"]] == []
    assert len(app.points()) == 1
    assert app.unfinished() == []
