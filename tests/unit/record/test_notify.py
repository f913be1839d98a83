"""A failure that lasted is told, and its end; other things only if asked for."""

from collections.abc import Callable

import pytest

from qsticky.errors import Reason
from qsticky.record import messages
from qsticky.record.notify import Notifier
from qsticky.sync.report import PortChange, RestartNews
from tests.reports import failing, synced, waiting
from tests.unit.record.inbox import Inbox, Post

DEFAULT = ("failing", "recovered")
AFTER = 120.0


class Scene:
    """A notifier of what `on` names, its one inbox, and time that passes."""

    def __init__(self, *on: str, after: float = AFTER) -> None:
        self.inbox = Inbox()
        self.post = Post(self.inbox)
        self.pass_time = self.post.pass_time
        self.notifier = Notifier(
            self.post.delivery, after=after, on=on or DEFAULT, clock=self.post.clock
        )
        self.record = self.notifier.record

    @property
    def occasions(self) -> list[str]:
        """What the messages taken were about."""
        return [str(message.occasion) for message in self.inbox.messages]


def test_a_failure_is_told_when_it_has_lasted() -> None:
    scene = Scene()
    scene.record(failing(Reason.NOT_LISTENING, "Nothing listens; restart it"))
    scene.pass_time(AFTER - 1)
    assert scene.occasions == []
    scene.pass_time(1)
    assert scene.inbox.bodies == ["Nothing listens; restart it"]
    assert scene.inbox.messages[0].title == "qSticky: not listening"


def test_a_failure_that_ended_before_is_not_told_nor_is_its_end() -> None:
    scene = Scene()
    scene.record(failing(Reason.NOT_LISTENING))
    scene.pass_time(AFTER - 1)
    scene.record(synced())
    scene.pass_time(AFTER)
    assert scene.occasions == []


def test_each_failure_is_told_at_once_where_it_need_not_last() -> None:
    scene = Scene(after=0)
    for report in (failing(Reason.NOT_LISTENING), synced()) * 2:
        scene.record(report)
        scene.pass_time()
    assert scene.occasions == ["failing", "recovered"] * 2


def test_the_end_is_told_with_since_when_and_for_how_long() -> None:
    scene = Scene()
    scene.record(failing(Reason.NOT_LISTENING))
    scene.pass_time(25 * 60)
    scene.record(synced())
    scene.pass_time()
    assert scene.occasions == ["failing", "recovered"]
    assert scene.inbox.bodies[1] == (
        "In sync on port 51218 again; it was failing since 2023-11-14 22:13 UTC, for 25 min"
    )


def test_it_is_told_with_the_reason_that_it_has_by_then() -> None:
    scene = Scene()
    scene.record(failing(Reason.GLUETUN_UNREACHABLE, "Gluetun is away"))
    scene.pass_time(AFTER / 2)
    scene.record(failing(Reason.NOT_LISTENING, "Nothing listens"))
    scene.pass_time(AFTER / 2)
    assert scene.inbox.bodies == ["Nothing listens"]


def test_another_reason_is_not_another_message() -> None:
    scene = Scene()
    for reason in (Reason.NOT_LISTENING, Reason.GLUETUN_UNREACHABLE, Reason.INTERNAL):
        scene.record(failing(reason))
        scene.pass_time(AFTER)
    assert scene.occasions == ["failing"]


def test_waiting_does_not_begin_a_failure() -> None:
    scene = Scene()
    scene.record(waiting())
    scene.pass_time(300)
    scene.record(failing(Reason.NO_FORWARDED_PORT))
    scene.pass_time(AFTER - 1)
    assert scene.occasions == []
    scene.pass_time(1)
    assert scene.occasions == ["failing"]


def test_waiting_does_not_end_a_failure_that_was_told() -> None:
    scene = Scene()
    scene.record(failing(Reason.GLUETUN_UNREACHABLE))
    scene.pass_time(AFTER)
    scene.record(waiting())
    scene.pass_time(300)
    assert scene.occasions == ["failing"]
    scene.record(failing(Reason.NO_FORWARDED_PORT))
    scene.pass_time(AFTER)
    assert scene.occasions == ["failing"]
    scene.record(synced())
    scene.pass_time()
    assert scene.occasions == ["failing", "recovered"]


def test_a_short_failure_before_waiting_is_not_told_while_it_waits() -> None:
    scene = Scene()
    scene.record(failing(Reason.GLUETUN_UNREACHABLE))
    scene.pass_time(10)
    scene.record(waiting())
    scene.pass_time(AFTER)
    assert scene.occasions == []
    scene.record(synced())
    scene.pass_time()
    assert scene.occasions == []


def test_a_short_failure_before_waiting_is_told_when_it_fails_again() -> None:
    scene = Scene()
    scene.record(failing(Reason.GLUETUN_UNREACHABLE))
    scene.pass_time(10)
    scene.record(waiting())
    scene.pass_time(300)
    scene.record(failing(Reason.NO_FORWARDED_PORT, "Gluetun has no port"))
    scene.pass_time()
    assert scene.inbox.bodies == ["Gluetun has no port"]


def test_the_vpn_that_was_down_while_it_had_to_be_told_is_told_of_once_it_is_back() -> None:
    scene = Scene()
    scene.inbox.takes = False
    scene.record(failing(Reason.GLUETUN_UNREACHABLE))
    scene.pass_time(7 * 3600)
    scene.inbox.takes = True
    scene.record(synced())
    scene.pass_time(3600)
    assert scene.occasions == ["recovered"]
    assert "for 7 h" in scene.inbox.bodies[0]


def test_a_failure_that_could_not_be_told_is_told_while_it_lasts() -> None:
    scene = Scene()
    scene.inbox.takes = False
    scene.record(failing(Reason.NO_FORWARDED_PORT, "Gluetun has no port"))
    scene.pass_time(AFTER + 5)
    scene.inbox.takes = True
    scene.pass_time(60)
    assert scene.inbox.bodies == ["Gluetun has no port"]


def test_an_end_that_could_not_be_told_is_told_though_it_failed_for_a_moment_since() -> None:
    scene = Scene()
    scene.record(failing(Reason.GLUETUN_UNREACHABLE))
    scene.pass_time(AFTER)
    scene.inbox.takes = False
    scene.record(synced())
    scene.pass_time(10)
    scene.record(failing(Reason.NOT_LISTENING))
    scene.pass_time(10)
    scene.record(synced())
    scene.inbox.takes = True
    scene.pass_time(3600)
    assert scene.occasions == ["failing", "recovered"]


def test_an_end_that_could_not_be_told_is_replaced_by_a_failure_that_lasted() -> None:
    scene = Scene()
    scene.inbox.takes = False
    scene.record(failing(Reason.GLUETUN_UNREACHABLE))
    scene.pass_time(AFTER)
    scene.record(synced())
    scene.pass_time(10)
    scene.record(failing(Reason.NOT_LISTENING, "Nothing listens"))
    scene.pass_time(AFTER - 1)
    scene.inbox.takes = True
    scene.pass_time(3600)
    assert scene.inbox.bodies == ["Nothing listens"]


def test_a_failure_that_could_not_be_told_is_told_with_the_reason_that_it_has_by_then() -> None:
    scene = Scene()
    scene.inbox.takes = False
    scene.record(failing(Reason.GLUETUN_UNREACHABLE, "Gluetun is away"))
    scene.pass_time(AFTER + 5)
    scene.record(failing(Reason.NOT_LISTENING, "Nothing listens"))
    scene.inbox.takes = True
    scene.pass_time(60)
    assert scene.inbox.bodies == ["Nothing listens"]


def test_while_it_flaps_the_newest_state_arrives() -> None:
    scene = Scene(after=1)
    for _ in range(10):
        scene.record(failing(Reason.NOT_LISTENING))
        scene.pass_time(1)
        scene.record(synced())
        scene.pass_time(1)
    scene.pass_time(60)
    assert scene.occasions == ["failing", "recovered"] * 2 + ["failing", "recovered"]


CHANGED = synced(change=PortChange(50001, 51218, verified=True))
NEWS = RestartNews("Restarting the VPN: why", Reason.PORT_CLOSED)
RESTARTED = failing(Reason.PORT_CLOSED, vpn_restart=NEWS)


def test_only_what_notify_on_names_is_told() -> None:
    for occasion in ("failing", "recovered", "port_changed", "vpn_restarted"):
        scene = Scene(occasion)
        scene.record(RESTARTED)
        scene.pass_time(AFTER)
        scene.record(CHANGED)
        scene.pass_time()
        assert scene.occasions == [occasion]


def test_a_change_that_was_not_verified_is_not_told() -> None:
    scene = Scene("port_changed")
    scene.record(failing(Reason.PORT_REJECTED, change=PortChange(50001, 51218, verified=False)))
    scene.pass_time()
    assert scene.occasions == []


def test_every_reason_has_a_title_that_fits_a_phone() -> None:
    for reason in Reason:
        assert len(messages.failing(failing(reason), began=0).title) <= 45


MESSAGES: list[Callable[[], messages.Message]] = [
    lambda: messages.failing(failing(Reason.NOT_LISTENING, forwarded_port=51218), began=0.5),
    lambda: messages.recovered(synced(), began=0.5, lasted=3.25),
    lambda: messages.port_changed(CHANGED),
    lambda: messages.vpn_restarted(RESTARTED),
    messages.test,
]


@pytest.mark.parametrize("message", MESSAGES)
def test_the_facts_are_the_same_fields_for_every_occasion(
    message: Callable[[], messages.Message],
) -> None:
    facts = message().facts
    assert list(facts) == ["event", "status", "reason", "port", "old_port", "since", "seconds"]
    assert facts["event"] == message().occasion


def test_the_facts_of_a_change_are_its_ports() -> None:
    facts = messages.port_changed(CHANGED).facts
    assert (facts["port"], facts["old_port"], facts["status"]) == (51218, 50001, "synced")


def test_the_facts_of_a_failure_are_its_reason_and_its_begin() -> None:
    facts = messages.failing(failing(Reason.NOT_LISTENING), began=0.5).facts
    assert (facts["reason"], facts["since"]) == ("not_listening", "1970-01-01T00:00:00Z")
    assert facts["port"] is None


def test_a_restart_is_told_as_it_is_logged_also_where_it_has_helped() -> None:
    message = messages.vpn_restarted(synced(vpn_restart=NEWS))
    assert message.body == "Restarting the VPN: why"
    assert (message.facts["reason"], message.facts["status"]) == ("port_closed", "synced")
