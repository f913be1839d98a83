"""Messages reach every address, paced, until they are taken or no longer so."""

import threading

import pytest

from qsticky.config import Notice
from qsticky.record.delivery import PATIENCE
from qsticky.record.messages import Message
from tests.unit.record.inbox import Inbox, Post

MINUTE, HOUR = 60.0, 3600.0


def message(body: str, occasion: Notice = Notice.FAILING) -> Message:
    return Message(occasion, "qSticky: a title", body, {})


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def post(inbox: Inbox) -> Post:
    return Post(inbox)


def test_a_message_goes_out_at_once(post: Post, inbox: Inbox) -> None:
    post.delivery.put(message("it fails"))
    post.pass_time()
    assert inbox.bodies == ["it fails"]
    assert post.counted == [True]
    assert post.delivery.pause() is None


def test_a_message_for_which_there_is_no_thread_is_tried_again(
    post: Post, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as without:
        without.setattr(threading.Thread, "start", start)
        post.delivery.put(message("it fails"))
        post.pass_time()
    assert post.counted == [False]
    post.pass_time(MINUTE)
    assert inbox.bodies == ["it fails"]


def test_five_go_at_once_and_then_one_a_minute(post: Post, inbox: Inbox) -> None:
    for number in range(8):
        post.delivery.put(message(str(number)))
        post.pass_time()
    assert inbox.bodies == ["0", "1", "2", "3", "4"]
    post.pass_time(MINUTE)
    post.delivery.put(message("8"))
    post.pass_time(MINUTE)
    assert inbox.bodies == ["0", "1", "2", "3", "4", "7", "8"]


def test_five_may_go_at_once_again_after_five_quiet_minutes(post: Post, inbox: Inbox) -> None:
    for burst in range(2):
        for number in range(6):
            post.delivery.put(message(f"{burst}.{number}"))
            post.pass_time()
        post.pass_time(6 * MINUTE)
    assert inbox.bodies == [f"{burst}.{number}" for burst in range(2) for number in range(6)]


def test_what_is_held_back_is_replaced_by_what_is_newer_of_its_subject(
    post: Post, inbox: Inbox
) -> None:
    for number in range(5):
        post.delivery.put(message(str(number)))
        post.pass_time()
    post.delivery.put(message("failing"))
    post.delivery.put(message("port 1", Notice.PORT_CHANGED))
    post.delivery.put(message("recovered", Notice.RECOVERED))
    post.delivery.put(message("port 2", Notice.PORT_CHANGED))
    post.pass_time(HOUR)
    assert inbox.bodies[5:] == ["recovered", "port 2"]


def test_what_was_not_taken_is_tried_after_1_5_and_15_minutes_then_hourly(
    post: Post, inbox: Inbox
) -> None:
    inbox.takes = False
    post.delivery.put(message("it fails"))
    tries: list[int] = []
    for minute in range(5 * 60):
        post.pass_time()
        tries += [minute] * (len(inbox.tried) - len(tries))
        post.pass_time(MINUTE)
    assert tries == [0, 1, 6, 21, 81, 141, 201, 261]
    inbox.takes = True
    post.pass_time(HOUR)
    assert inbox.bodies == ["it fails"]
    assert post.counted == [False] * 8 + [True]


def test_a_newer_state_is_tried_at_once(post: Post, inbox: Inbox) -> None:
    inbox.takes = False
    post.delivery.put(message("it fails"))
    post.pass_time(2 * HOUR)
    inbox.takes = True
    post.delivery.put(message("it recovered", Notice.RECOVERED))
    post.pass_time()
    assert inbox.bodies == ["it recovered"]
    post.pass_time(2 * HOUR)
    assert inbox.bodies == ["it recovered"]


def test_what_is_withdrawn_is_not_sent(post: Post, inbox: Inbox) -> None:
    post.delivery.put(message("it fails"), after=10)
    post.delivery.withdraw(Notice.FAILING)
    post.pass_time(HOUR)
    assert inbox.tried == []


def test_what_is_on_its_way_keeps_its_words(post: Post, inbox: Inbox) -> None:
    inbox.open.clear()
    post.delivery.put(message("it fails"))
    post.pass_time()
    post.delivery.reword(message("it fails otherwise"))
    inbox.open.set()
    post.pass_time(HOUR)
    assert inbox.bodies == ["it fails"]


@pytest.mark.parametrize("takes", [True, False])
def test_what_is_newer_than_what_is_on_its_way_is_sent_after_it(
    post: Post, inbox: Inbox, takes: bool
) -> None:
    inbox.open.clear()
    inbox.takes = takes
    post.delivery.put(message("port 1", Notice.PORT_CHANGED))
    post.pass_time()
    post.delivery.put(message("port 2", Notice.PORT_CHANGED))
    inbox.open.set()
    post.pass_time()
    assert [each.body for each in inbox.tried] == ["port 1", "port 2"]


def test_a_message_waits_for_its_moment(post: Post, inbox: Inbox) -> None:
    post.delivery.put(message("it fails"), after=120)
    post.pass_time(119)
    assert inbox.tried == []
    post.pass_time(1)
    assert inbox.bodies == ["it fails"]


def test_one_that_hangs_is_given_up_and_nothing_more_is_sent_to_it_meanwhile(
    post: Post, inbox: Inbox
) -> None:
    inbox.open.clear()
    post.delivery.put(message("it fails"))
    post.pass_time(PATIENCE - 1)
    assert post.counted == []
    post.pass_time(1)
    assert post.counted == [False]
    assert "not answered within 30 s" in post.told[0]
    post.delivery.put(message("it recovered", Notice.RECOVERED))
    post.pass_time(HOUR)
    assert len(inbox.tried) == 1
    inbox.open.set()
    post.pass_time()
    assert inbox.bodies[-1] == "it recovered"


def test_one_that_took_it_too_late_is_not_sent_it_again(post: Post, inbox: Inbox) -> None:
    inbox.open.clear()
    post.delivery.put(message("it fails"))
    post.pass_time(PATIENCE)
    inbox.open.set()
    post.pass_time(HOUR)
    assert inbox.bodies == ["it fails"]
    assert post.counted == [False]


def test_one_that_hangs_keeps_no_other_from_being_sent_to() -> None:
    hanging, other = Inbox(), Inbox("address 2 (ntfy)")
    post = Post(hanging, other)
    hanging.open.clear()
    for number in range(3):
        post.delivery.put(message(str(number)))
        post.pass_time(MINUTE)
    hanging.open.set()
    assert other.bodies == ["0", "1", "2"]


def test_no_more_than_three_are_sent_to_at_a_time() -> None:
    inboxes = [Inbox(f"address {number}") for number in range(1, 6)]
    post = Post(*inboxes)
    for inbox in inboxes:
        inbox.open.clear()
    post.delivery.put(message("it fails"))
    post.pass_time(PATIENCE - 1)
    assert [len(inbox.tried) for inbox in inboxes] == [1, 1, 1, 0, 0]
    post.pass_time(1)
    assert [len(inbox.tried) for inbox in inboxes] == [1, 1, 1, 1, 1]
    for inbox in inboxes:
        inbox.open.set()


def test_a_failure_is_told_once_until_a_message_was_taken(post: Post, inbox: Inbox) -> None:
    for takes in (False, True, False):
        inbox.takes = takes
        post.pass_time(HOUR)
        post.delivery.put(message(f"takes: {takes}"))
        post.pass_time(HOUR)
    assert len(post.told) == 2
    assert post.told[0].startswith("The notification to address 1 (json) of NOTIFY_URLS was not ")
    assert "qsticky notify" in post.told[0]


def test_of_an_error_only_its_kind_is_told(
    post: Post, inbox: Inbox, capfd: pytest.CaptureFixture[str]
) -> None:
    inbox.raises = ValueError("json://user:secret@host")
    post.delivery.put(message("it fails"))
    post.pass_time()
    assert post.counted == [False]
    assert "(ValueError)" in post.told[0]
    assert "secret" not in post.told[0]
    assert capfd.readouterr() == ("", "")
