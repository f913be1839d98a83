"""When a login may be sent, so that qBittorrent never bans our address."""

import pytest

from qsticky.errors import ErrorKind, Reason, ServiceError, SyncError
from qsticky.services.login_limit import Credentials, LoginLimit
from tests.fakes import FakeClock

MINUTE = 60.0
HOUR = 60 * MINUTE
YEAR = 365 * 24 * HOUR
ME = Credentials("me", "secret")

REFUSED = ServiceError(Reason.QBITTORRENT_UNAUTHORIZED, ErrorKind.UNAUTHORIZED, "It was refused")
BANNED = ServiceError(Reason.QBITTORRENT_BANNED, ErrorKind.UNAUTHORIZED, "It is banned")
LOST = ServiceError(Reason.QBITTORRENT_UNREACHABLE, ErrorKind.TIMEOUT, "It was not answered")
FOREIGN = ServiceError(Reason.QBITTORRENT_INVALID_RESPONSE, ErrorKind.HTTP_STATUS, "It was a 502")
UNSENT = ServiceError(
    Reason.QBITTORRENT_UNREACHABLE, ErrorKind.CONNECTION, "Nobody is there", sent=False
)


class Login:
    """Sends logins that end as they are told to, at times that are noted in minutes."""

    def __init__(self, clock: FakeClock) -> None:
        self.limit = LoginLimit(clock)
        self.times: list[float] = []
        self.clock = clock

    def send(self, outcome: ServiceError | None = None, credentials: Credentials = ME) -> str:
        """Send one if that is allowed, and return what is told."""
        try:
            self.limit.check(credentials)
        except SyncError as error:
            return str(error)
        self.limit.sending(credentials)
        self.times.append(self.clock.monotonic() / MINUTE)
        if outcome is None:
            self.limit.begin_anew()
            return ""
        return str(self.limit.failed(outcome))

    def go_on(self, outcome: ServiceError, seconds: float = YEAR) -> list[float]:
        """Go on sending whenever that is allowed, and return the times."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            self.send(outcome)
            self.clock.advance(MINUTE / 2 if seconds <= 10 * HOUR else HOUR)
        return self.times


@pytest.fixture
def login() -> Login:
    return Login(FakeClock())


def test_credentials_show_in_no_repr() -> None:
    for text in (repr(ME), str(ME)):
        assert "me" not in text
        assert "secret" not in text
    assert Credentials("me", "secret") == ME
    assert Credentials("me", "other") != ME


def test_a_refused_login_is_sent_four_times_and_never_again(login: Login) -> None:
    assert login.go_on(REFUSED, 5 * HOUR) == [0, 1, 6, 21]
    assert "after 4 logins without success none is sent any more" in login.send(REFUSED)
    assert len(login.go_on(REFUSED)) == 4


@pytest.mark.parametrize("outcome", [LOST, FOREIGN])
def test_a_login_that_nobody_answers_is_sent_four_times_and_then_every_hour(
    login: Login, outcome: ServiceError
) -> None:
    assert login.go_on(outcome, 5 * HOUR) == [0, 1, 6, 21, 81, 141, 201, 261]
    told = login.send(outcome)
    assert f"{outcome} (after 8 logins without an answer one is sent every hour" in told
    assert "bans this address" in told


def test_one_refusal_among_the_four_is_enough_to_wait(login: Login) -> None:
    login.send(REFUSED)
    assert login.go_on(LOST, 10 * HOUR) == [0, 1, 6, 21]


def test_what_never_left_counts_for_nothing(login: Login) -> None:
    for _ in range(10):
        assert login.send(UNSENT) == "Nobody is there"
    assert len(login.times) == 10
    login.times.clear()
    assert login.go_on(REFUSED, 5 * HOUR) == [0, 1, 6, 21]


def test_what_never_left_leaves_a_count_as_it_was(login: Login) -> None:
    for outcome in (REFUSED, UNSENT, REFUSED, UNSENT, REFUSED, UNSENT, REFUSED):
        login.send(outcome)
        login.clock.advance(15 * MINUTE)
    assert "none is sent any more" in login.send(REFUSED)


def test_a_login_that_an_internal_error_ended_counts(login: Login) -> None:
    for _ in range(4):
        login.limit.sending(ME)
        login.clock.advance(15 * MINUTE)
    with pytest.raises(SyncError, match="ended without an answer"):
        login.limit.check(ME)


def test_a_ban_is_tried_again_every_15_minutes(login: Login) -> None:
    assert login.go_on(BANNED, HOUR) == [0, 15, 30, 45]
    assert login.send(BANNED) == "It is banned (the next login is tried in 15 min)"


def test_a_yes_starts_the_count_afresh(login: Login) -> None:
    for _ in range(3):
        login.send(REFUSED)
        login.clock.advance(15 * MINUTE)
    login.send()
    assert "the next login is tried in 1 min" in login.send(REFUSED)


@pytest.mark.parametrize("outcome", [REFUSED, BANNED, LOST])
def test_a_proved_restart_starts_the_count_afresh(login: Login, outcome: ServiceError) -> None:
    login.go_on(outcome, 10 * HOUR)
    login.limit.begin_anew()
    login.times.clear()
    assert "is tried in" in login.send(outcome)
    assert len(login.times) == 1


def test_other_credentials_are_tried_at_once_and_counted_on(login: Login) -> None:
    # qBittorrent counts by address, whatever the user name.
    login.go_on(REFUSED, HOUR)
    other = Credentials("me", "other")
    assert "after 5 logins without success" in login.send(REFUSED, other)
    assert "after 5 logins without success" in login.send(REFUSED, other)
    assert len(login.times) == 5


def test_a_file_that_goes_back_and_forth_is_no_new_credential(login: Login) -> None:
    other = Credentials("me", "another")
    for number in range(1000):
        login.send(REFUSED, other if number % 2 else ME)
        login.clock.advance(MINUTE / 2)
    assert len(login.times) == 4


def test_what_was_refused_before_a_success_is_forgotten(login: Login) -> None:
    other = Credentials("me", "another")
    login.send(REFUSED)
    login.send(None, other)
    login.send(REFUSED, other)
    login.send(REFUSED, ME)
    assert len(login.times) == 4


def test_each_time_another_error_is_raised(login: Login) -> None:
    login.send(BANNED)
    raised = []
    for _ in range(2):
        with pytest.raises(SyncError) as caught:
            login.limit.check(ME)
        raised.append(caught.value)
    assert raised[0] is not raised[1]
    assert [error.reason for error in raised] == [Reason.QBITTORRENT_BANNED] * 2
