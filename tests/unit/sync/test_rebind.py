"""When the listening sockets are opened anew, for which cause, and when that is left alone."""

from collections.abc import Callable

import pytest

from qsticky.sync.rebind import RebindPolicy, Verdict
from qsticky.sync.report import RebindCause

WRONG = RebindCause.NOT_LISTENING
NOT_LISTENING = Verdict(cause=RebindCause.NOT_LISTENING)


@pytest.fixture
def policy() -> RebindPolicy:
    return RebindPolicy()


def rebind(policy: RebindPolicy, now: float) -> None:
    policy.note_rebind(RebindCause.NOT_LISTENING, now)


def test_nothing_wrong_is_nothing_to_do(policy: RebindPolicy) -> None:
    assert policy.assess(None, 0, blind=False) == policy.assess(None, 0, blind=True) == Verdict()


def test_what_is_known_to_be_wrong_is_acted_on_at_once(policy: RebindPolicy) -> None:
    assert policy.assess(WRONG, 1000, blind=False) == NOT_LISTENING


def test_assessing_changes_nothing(policy: RebindPolicy) -> None:
    policy.note_request()
    assert policy.assess(WRONG, 0, blind=False) == policy.assess(WRONG, 0, blind=False)


def test_what_does_not_help_is_tried_three_times_in_a_minute_and_then_every_ten_minutes(
    policy: RebindPolicy,
) -> None:
    now, opened = 1000.0, []
    while now < 1000 + 1300:
        verdict = policy.assess(WRONG, now, blind=False)
        if verdict.cause:
            rebind(policy, now)
            opened.append(now - 1000)
            now += 0.5
        else:
            assert verdict.wait is not None
            assert verdict.wait > 0
            now += min(verdict.wait, 7)
    assert opened == [0, 30, 60, 660, 1260]


def test_after_what_helped_the_next_is_due_at_once_and_counts_afresh(policy: RebindPolicy) -> None:
    for now in (0.0, 1.0, 2.0, 3.0):
        assert policy.assess(WRONG, now, blind=False) == NOT_LISTENING
        rebind(policy, now)
        policy.note_listening()
    assert policy.assess(WRONG, 4, blind=False) == NOT_LISTENING
    rebind(policy, 4)
    assert policy.assess(WRONG, 5, blind=False) == Verdict(wait=29)


def test_a_changed_port_is_no_rebind_that_did_not_help(policy: RebindPolicy) -> None:
    policy.note_change(0)
    assert policy.assess(WRONG, 0.2, blind=False) == NOT_LISTENING


def test_evidence_is_acted_on_once_where_the_sockets_can_not_be_seen(policy: RebindPolicy) -> None:
    policy.note_evidence(RebindCause.PORT_RETURNED)
    assert policy.assess(None, 100, blind=False) == Verdict()
    assert policy.assess(None, 100, blind=True) == Verdict(cause=RebindCause.PORT_RETURNED)
    policy.note_rebind(RebindCause.PORT_RETURNED, 100)
    assert policy.assess(None, 200, blind=True) == Verdict()


def test_evidence_counts_not_where_the_sockets_can_be_seen_and_a_request_does(
    policy: RebindPolicy,
) -> None:
    policy.note_evidence(RebindCause.PORT_FILE)
    policy.note_request()
    assert policy.assess(None, 101, blind=False) == Verdict(cause=RebindCause.REQUEST)
    policy.note_rebind(RebindCause.REQUEST, 101)
    assert policy.assess(None, 200, blind=True) == Verdict()


def opened(policy: RebindPolicy, now: float) -> None:
    policy.note_change(now)


@pytest.mark.parametrize("opening", [opened, rebind], ids=["a change", "a rebind"])
def test_evidence_within_5_seconds_belongs_to_the_opening_and_later_waits_for_10(
    policy: RebindPolicy, opening: Callable[[RebindPolicy, float], None]
) -> None:
    opening(policy, 100.0)
    assert policy.just_opened(104.5)
    assert not policy.just_opened(105.5)
    policy.note_evidence(RebindCause.ADDRESS_CHANGED)
    assert policy.assess(None, 106, blind=True) == Verdict(wait=4)
    assert policy.assess(None, 110, blind=True) == Verdict(cause=RebindCause.ADDRESS_CHANGED)


def test_an_opening_settles_the_evidence_before_it(policy: RebindPolicy) -> None:
    policy.note_evidence(RebindCause.PORT_FILE)
    policy.note_change(101)
    assert policy.assess(None, 200, blind=True) == Verdict()


def test_the_first_evidence_is_the_cause(policy: RebindPolicy) -> None:
    policy.note_evidence(RebindCause.PORT_FILE)
    policy.note_evidence(RebindCause.ADDRESS_CHANGED)
    assert policy.assess(None, 102, blind=True) == Verdict(cause=RebindCause.PORT_FILE)


@pytest.mark.parametrize("after", [0.5, 4.0, 6.0])
def test_a_request_is_never_dropped_and_says_how_long_it_waits(
    policy: RebindPolicy, after: float
) -> None:
    policy.note_change(100)
    assert policy.request_waits(100 + after) == 10 - after
    policy.note_request()
    policy.note_evidence(RebindCause.PORT_FILE)
    policy.note_change(100 + after)  # another port on the way does not stand in for it
    assert policy.assess(None, 100 + after, blind=False) == Verdict(wait=10)
    assert policy.assess(None, 110 + after, blind=False) == Verdict(cause=RebindCause.REQUEST)
    assert policy.request_waits(1000) == 0


def test_a_request_does_not_wait_for_a_long_pause(policy: RebindPolicy) -> None:
    for _ in range(3):
        rebind(policy, 100)
    policy.note_request()
    assert policy.assess(WRONG, 107, blind=False) == Verdict(wait=3)
    assert policy.assess(WRONG, 110, blind=False) == Verdict(cause=RebindCause.REQUEST)
