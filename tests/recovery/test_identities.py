"""An identity moves and goes back in the local cloud, whatever call a job is interrupted at."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from chalicelib.aws.clients import Clients
from chalicelib.aws.ec2 import Ec2
from chalicelib.aws.ec2_network import Ec2Network
from chalicelib.aws.elbv2 import Target, TargetGroups
from chalicelib.aws.route53 import Route53
from chalicelib.errors import Permanent, Unavailable
from chalicelib.jobs.codec import from_text, to_text
from chalicelib.jobs.decision import Fail, Wait
from chalicelib.plans.launches import DnsRecord, Identity
from chalicelib.recovery.identities import Identities
from chalicelib.recovery.identity import next_move, next_move_back, whereabouts
from chalicelib.recovery.identity_state import IdentityProgress, Move, Part
from local_cloud.cloud import Cloud
from local_cloud.control.faults import Effect, Error, Fault, Match

HOME = "eu-central-1"
MOST_STEPS = 40
Next = Callable[[Identity, str, IdentityProgress, Any, datetime], Move | Wait | Fail | None]


@dataclass
class Scene:
    """Two instances, and an identity that the old one has."""

    cloud: Cloud
    identities: Identities
    identity: Identity
    old: str
    new: str
    progress: IdentityProgress = field(default_factory=IdentityProgress)
    calls: int = 0

    def step(self, decide: Next) -> Move | Fail | None:
        """Decide the next move from what AWS shows, waiting where that is the decision."""
        for _ in range(MOST_STEPS):
            seen = self.identities.observe(self.identity, self.new, self.progress)
            decided = decide(self.identity, self.new, self.progress, seen, self.cloud.clock.now())
            if not isinstance(decided, Wait):
                return decided
            self.cloud.advance(decided.until - self.cloud.clock.now())
        raise AssertionError("it waits for ever")

    def play(self, decide: Next, *, until: int | None = None, lost: int | None = None) -> None:
        """Move until nothing is left to do, or `until` so many calls; forget what the `lost` one returned."""
        for number in range(MOST_STEPS):
            move = self.step(decide)
            assert not isinstance(move, Fail), move
            if move is None or number == until:
                self.calls = number
                return
            progress = self.identities.act(move, self.progress)
            if number != lost:
                self.progress = from_text(IdentityProgress, to_text(progress))
            self.assert_one_holder()
        raise AssertionError("it never ends")

    def holders(self) -> dict[Part, set[str]]:
        """Return which instances have each part."""
        seen = self.identities.observe(self.identity, self.new, self.progress)
        address = {each.instance_id: each.private_address for each in self.primaries()}
        addresses = seen.record.addresses if seen.record else ()
        held = {
            Part.ENI: {seen.instance_of(self.identity.eni)},
            Part.ELASTIC_IP: {seen.address_holder.instance_id},
            Part.DNS: {instance for instance, private in address.items() if private in addresses},
            Part.TARGET_GROUP: {each.instance_id for each in seen.targets or ()},
        }
        return {part: {each for each in found if each} for part, found in held.items()}

    def primaries(self) -> Iterator[Any]:
        for instance in (self.old, self.new):
            yield self.identities.network.interfaces_of(instance)[0]

    def assert_one_holder(self) -> None:
        assert all(len(held) <= 1 for held in self.holders().values()), self.holders()

    def assert_with(self, instance: str) -> None:
        assert self.holders() == {part: {instance} for part in Part}


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    with Cloud(tmp_path, start_at=datetime(2026, 3, 1, 12, tzinfo=UTC)) as cloud:
        monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.aws.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        yield set_up(cloud)


def set_up(cloud: Cloud) -> Scene:
    ec2, clients = cloud.client("ec2", HOME), Clients(HOME)
    launched = ec2.run_instances(ImageId="ami-12345678", MinCount=2, MaxCount=2)["Instances"]
    old, new = (str(each["InstanceId"]) for each in launched)
    cloud.advance(timedelta(minutes=1))
    network = Ec2Network(clients.ec2(), unretried=clients.ec2(retries=False))
    identities = Identities(
        Ec2(clients.ec2(), HOME, unretried=clients.ec2(retries=False), own={}),
        network,
        Route53(clients.route53()),
        TargetGroups(clients.elbv2()),
    )
    primary = network.interfaces_of(old)[0]
    subnet, vpc = launched[0]["SubnetId"], launched[0]["VpcId"]
    eni = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    ip = ec2.allocate_address(Domain="vpc")["AllocationId"]
    zone = cloud.client("route53", "us-east-1").create_hosted_zone(
        Name="example.internal", CallerReference="once"
    )["HostedZone"]["Id"]
    group = cloud.client("elbv2", HOME).create_target_group(
        Name="orders", Protocol="TCP", Port=5432, VpcId=vpc, TargetType="instance"
    )["TargetGroups"][0]["TargetGroupArn"]
    # The ids of the local zones begin with any letter, which a plan would not take.
    dns = DnsRecord.model_construct(zone=zone.rpartition("/")[2], name="orders.example.internal")
    network.attach(eni, old, 1)
    network.associate(ip, primary.id, None, takes_over=True)
    identities.route53.upsert(dns.zone, dns.name, [primary.private_address], 300)
    identities.target_groups.register(group, [Target(old, 6432)])
    identity = Identity(eni=eni, elastic_ip=ip, dns=dns, target_group=group)
    return Scene(cloud, identities, identity, old, new)


def test_a_whole_identity_moves_and_goes_back(scene: Scene) -> None:
    scene.assert_with(scene.old)
    scene.play(next_move)
    scene.assert_with(scene.new)
    assert scene.progress.touched == tuple(Part)
    assert scene.progress.dns_change
    seen = scene.identities.observe(scene.identity, scene.new, scene.progress)
    assert seen.targets == (Target(scene.new, 6432),)
    scene.play(next_move_back)
    scene.assert_with(scene.old)
    seen = scene.identities.observe(scene.identity, scene.new, scene.progress)
    assert seen.record is not None
    assert seen.record.ttl_seconds == 300
    assert len(whereabouts(scene.identity, scene.progress, seen)) == len(Part)


@pytest.mark.long
def test_it_ends_the_same_whatever_call_it_is_interrupted_after(scene: Scene) -> None:
    scene.play(next_move)
    forward = scene.calls
    scene.play(next_move_back)
    backward = scene.calls
    for lost in range(max(forward, backward)):
        scene.progress = IdentityProgress()
        scene.play(next_move, lost=lost)
        scene.assert_with(scene.new)
        scene.play(next_move_back, lost=lost)
        scene.assert_with(scene.old)


@pytest.mark.long
def test_it_goes_back_from_wherever_it_has_got_to(scene: Scene) -> None:
    scene.play(next_move)
    forward = scene.calls
    scene.play(next_move_back)
    for until in range(forward):
        scene.progress = IdentityProgress()
        scene.play(next_move, until=until)
        scene.play(next_move_back)
        scene.assert_with(scene.old)


def test_a_call_whose_answer_is_lost_is_not_made_again(scene: Scene) -> None:
    both = [Match(service="ec2", operation=each) for each in ("AttachNetworkInterface", "AssociateAddress")]
    scene.cloud.faults.replace([Fault(match=each, effect=Effect(lose=True), count=1) for each in both])
    scene.cloud.calls.clear()
    lost = 0
    while (move := scene.step(next_move)) is not None:
        assert not isinstance(move, Fail)
        try:
            scene.progress = scene.identities.act(move, scene.progress)
        except Unavailable:
            lost += 1
    assert lost == 2
    scene.assert_with(scene.new)
    made = scene.cloud.calls.by_operation()["ec2"]
    assert (made["AttachNetworkInterface"], made["AssociateAddress"]) == (1, 1)


@pytest.mark.long
def test_an_identity_that_nobody_has_moves(scene: Scene) -> None:
    scene.play(next_move)
    scene.play(next_move_back)
    network = scene.identities.network
    seen = scene.identities.observe(scene.identity, scene.new, IdentityProgress())
    network.detach(seen.interfaces[scene.identity.eni or ""].attachment_id or "")
    network.disassociate(seen.elastic_ip.association_id or "" if seen.elastic_ip else "")
    scene.identities.target_groups.deregister(scene.identity.target_group or "", seen.targets or ())
    scene.progress = IdentityProgress()
    scene.play(next_move)
    scene.assert_with(scene.new)
    scene.play(next_move_back)
    held = scene.holders()
    assert [held[part] for part in (Part.ENI, Part.ELASTIC_IP, Part.TARGET_GROUP)] == [set(), set(), set()]


def test_an_earlier_holder_that_is_gone_gets_nothing_back(scene: Scene) -> None:
    scene.play(next_move)
    scene.cloud.client("ec2", HOME).terminate_instances(InstanceIds=[scene.old])
    scene.cloud.advance(timedelta(minutes=5))
    scene.play(next_move_back)
    seen = scene.identities.observe(scene.identity, scene.new, scene.progress)
    assert seen.address_holder.interface_id is None
    assert seen.targets == ()
    assert seen.instance_of(scene.identity.eni) is None
    said = whereabouts(scene.identity, scene.progress, seen)
    assert f"is free, because {scene.old}, which had it, does not run any more" in said[0]


def test_a_call_that_can_never_be_made_forward_fails_and_back_ends_its_part_only(scene: Scene) -> None:
    refused = Effect(error=Error(code="InvalidTarget", status=400))
    match = Match(service="elbv2", operation="RegisterTargets")
    scene.cloud.faults.replace([Fault(match=match, effect=refused, count=2)])
    with pytest.raises(Permanent, match="InvalidTarget"):
        scene.play(next_move)
    scene.play(next_move_back)
    assert set(scene.progress.not_returned) == {Part.TARGET_GROUP}
    held = scene.holders()
    assert [held[part] for part in (Part.ENI, Part.ELASTIC_IP, Part.DNS)] == [{scene.old}] * 3
    seen = scene.identities.observe(scene.identity, scene.new, scene.progress)
    assert "giving it back failed" in whereabouts(scene.identity, scene.progress, seen)[-1]


def test_what_the_plan_names_and_does_not_exist_is_shown_as_missing(scene: Scene) -> None:
    identity = Identity(
        eni="eni-00000000000000000",
        elastic_ip="eipalloc-00000000000000000",
        dns=DnsRecord(zone="Z0123456789", name="orders.example.internal"),
        target_group=f"arn:aws:elasticloadbalancing:{HOME}:123456789012:targetgroup/no/0123456789abcdef",
    )
    seen = scene.identities.observe(identity, scene.new, IdentityProgress())
    assert (seen.interfaces, seen.elastic_ip, seen.record, seen.targets) == ({}, None, None, None)
    assert not seen.zone_exists
    assert isinstance(next_move(identity, scene.new, IdentityProgress(), seen, datetime.now(UTC)), Fail)
