"""Another program that sets the port is named: three syncs in a row, or five times in 10 minutes.

That the port itself is set and read back is in test_synchronizer.py.
"""

import pytest

from qsticky.sync.listening_port import OtherHand

OURS, THEIRS = 51500, 6881


@pytest.fixture
def hand() -> OtherHand:
    hand = OtherHand()
    hand.note_verified(OURS)
    return hand


def undone(hand: OtherHand, now: float) -> None:
    """Find another port than the one that was set, and set it again."""
    hand.note(THEIRS, OURS, now)
    hand.note_verified(OURS)


def test_once_or_twice_is_a_person(hand: OtherHand) -> None:
    for now in (0.0, 30.0):
        undone(hand, now)
        assert hand.warning(now) is None


def test_three_syncs_in_a_row_are_another_program(hand: OtherHand) -> None:
    for now in (0.0, 1000.0, 2000.0):
        assert hand.warning(now) is None
        undone(hand, now)
    warning = hand.warning(2000)
    assert warning is not None
    assert f"it was {THEIRS} again after qSticky had set {OURS}" in warning
    hand.note(OURS, OURS, 2030)
    assert hand.warning(2030) is None


def test_five_times_in_ten_minutes_are_too(hand: OtherHand) -> None:
    for now in range(0, 500, 100):
        assert hand.warning(now) is None
        undone(hand, now)
        hand.note(OURS, OURS, now + 50)
    assert hand.warning(450) is not None
    assert hand.warning(601) is None  # the first is over ten minutes ago


def test_a_forwarded_port_that_changed_is_nobodys_hand(hand: OtherHand) -> None:
    for port in range(OURS, OURS + 10):
        hand.note(port, port + 1, 0.0)
        hand.note_verified(port + 1)
        assert hand.warning(0.0) is None
