"""When a VPN that forwards no port is restarted, and that it is never left stopped."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from qsticky.demo.gluetun_simulator import GluetunRelease, GluetunSimulator, VpnStatus
from qsticky.demo.simulator import Answer, Disconnect, Hang
from qsticky.errors import Reason
from qsticky.services import vpn_control
from qsticky.services.gluetun import gluetun_service
from qsticky.services.gluetun_roles import Credential
from qsticky.services.http import HttpClient, unobserved
from qsticky.services.vpn_control import IN_A_ROLE, VpnControl
from qsticky.sync.report import RestartNews
from qsticky.sync.vpn_restart import Forwarding, RestartPolicy, VpnRestart
from tests.fakes import FakeClock
from tests.real import wait_until
from tests.unit.conftest import LONG

NONE, CLOSED, PRESENT, OPEN, UNKNOWN = Forwarding
AFTER = 600.0
PATIENCE = 0.2


# When


def test_it_is_due_once_there_was_no_port_for_so_long() -> None:
    policy = RestartPolicy(AFTER)
    policy.note(NONE, 100)
    assert policy.due_in(100) == 600
    policy.note(NONE, 699)
    assert policy.due_in(699) == 1
    assert policy.due_in(700) == 0


def test_it_is_due_once_the_port_was_closed_for_so_long() -> None:
    policy = RestartPolicy(AFTER)
    policy.note(CLOSED, 100)
    assert policy.due_in(700) == 0


@pytest.mark.parametrize("forwarding", [PRESENT, OPEN, UNKNOWN])
def test_it_is_never_due_with_a_port_or_without_a_word(forwarding: Forwarding) -> None:
    policy = RestartPolicy(AFTER)
    assert policy.due_in(1e6) is None
    policy.note(forwarding, 0)
    assert policy.due_in(1e6) is None


@pytest.mark.parametrize("between", [PRESENT, OPEN, UNKNOWN, CLOSED])
def test_the_time_begins_anew_with_anything_else_between(between: Forwarding) -> None:
    policy = RestartPolicy(AFTER)
    for moment, forwarding in ((0, NONE), (590, between), (595, NONE)):
        policy.note(forwarding, moment)
    assert policy.due_in(600) == 595


def waits(policy: RestartPolicy, forwarding: Forwarding, times: int) -> list[float | None]:
    """Restart for the same reason, so many times; the seconds until each was due."""
    seconds = []
    for _ in range(times):
        policy.note(forwarding, 0)
        seconds.append(policy.due_in(0))
        policy.note_restart(forwarding)
        policy.begin_anew()
    return seconds


@pytest.mark.parametrize("reason", [NONE, CLOSED])
def test_it_doubles_up_to_an_hour(reason: Forwarding) -> None:
    assert waits(RestartPolicy(AFTER), reason, 5) == [600, 1200, 2400, 3600, 3600]


def test_a_setting_over_an_hour_remains_as_it_is() -> None:
    assert waits(RestartPolicy(7200), NONE, 3) == [7200, 7200, 7200]


@pytest.mark.parametrize(
    ("reason", "then", "wait"),
    [
        (NONE, PRESENT, 600),
        (NONE, OPEN, 600),
        (NONE, CLOSED, 600),
        (NONE, UNKNOWN, 1200),
        (CLOSED, PRESENT, 1200),
        (CLOSED, CLOSED, 1200),
        (CLOSED, OPEN, 600),
    ],
)
def test_what_was_missing_brings_the_first_time_back(
    reason: Forwarding, then: Forwarding, wait: float
) -> None:
    policy = RestartPolicy(AFTER)
    waits(policy, reason, 1)
    policy.note(then, 0)
    policy.note(reason, 0)
    assert policy.due_in(0) == wait


# How


@dataclass
class Scene:
    """A restart between a simulated Gluetun and the syncs, which a test plays."""

    gluetun: GluetunSimulator
    restart: VpnRestart
    clock: FakeClock
    news: list[RestartNews] = field(default_factory=list)
    pauses: list[int] = field(default_factory=list)

    def tell(self, news: RestartNews) -> None:
        """Keep the news, and after how many pauses it came."""
        self.pauses.append(len(self.clock.waits))
        self.news.append(news)

    def pass_time(self, seconds: float = AFTER, forwarding: Forwarding = NONE) -> None:
        """Have a sync learn the same before and after so many seconds."""
        self.restart.note(forwarding)
        self.clock.advance(seconds)
        self.restart.note(forwarding)

    def wait_until_over(self) -> None:
        wait_until(lambda: not self.restart._restarting, LONG, "the restart to be over")

    def wait_for_requests(self, *lines: str) -> None:
        wait_until(lambda: self.puts == list(lines), LONG, f"{lines}, not {self.puts}")

    @property
    def puts(self) -> list[str]:
        return [line for line in self.gluetun.requests if line == IN_A_ROLE]

    @property
    def sentences(self) -> list[str]:
        return [news.sentence for news in self.news]

    @property
    def restarts(self) -> int:
        return sum(sentence.startswith("Restarting the VPN") for sentence in self.sentences)


Begin = Callable[..., Scene]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Starts a restart beside a simulated Gluetun without a port; takes the simulator's options."""
    scenes = []

    def begin(**options: object) -> Scene:
        gluetun = GluetunSimulator(**options)  # type: ignore[arg-type]
        gluetun.start()
        clock = FakeClock()
        http = HttpClient(gluetun_service(gluetun.url), LONG, unobserved)
        control = VpnControl(http, lambda: Credential({"X-API-Key": b"key"}))
        restart = VpnRestart(control, after=AFTER, clock=clock, tell=lambda news: scene.tell(news))
        scene = Scene(gluetun, restart, clock)
        scenes.append(scene)
        restart.start()
        return scene

    yield begin
    for scene in scenes:
        scene.restart.stop()
        scene.gluetun.stop()


@pytest.mark.parametrize("release", ["3.39.0", "3.40", "3.41", "3.41.3", "master"])
def test_the_vpn_is_stopped_and_started_again(begin: Begin, release: GluetunRelease) -> None:
    scene = begin(release=release, api_key="key")
    scene.gluetun.next_ports = (6000,)
    scene.pass_time()
    scene.wait_until_over()
    assert scene.gluetun.outcomes == ["stopped", "running"]
    assert scene.gluetun.ports == (6000,)
    assert scene.restarts == 1
    assert scene.sentences == [
        "Restarting the VPN: Gluetun has had no forwarded port for 10 min",
        "Gluetun started the VPN again after 0 s (running)",
    ]
    assert not any(news.failed for news in scene.news)


def test_a_restart_is_for_the_next_report_alone(begin: Begin) -> None:
    scene = begin()
    scene.pass_time()
    assert scene.restart.noted is None
    scene.wait_until_over()
    scene.restart.note(PRESENT)
    assert scene.restart.noted == scene.news[0]
    scene.restart.note(PRESENT)
    assert scene.restart.noted is None


def test_a_closed_port_is_told_as_the_reason(begin: Begin) -> None:
    scene = begin(ports=[5914])
    scene.pass_time(forwarding=CLOSED)
    scene.wait_until_over()
    assert scene.sentences[0] == (
        "Restarting the VPN: the forwarded port has been closed to the outside for 10 min"
    )
    assert {news.reason for news in scene.news} == {Reason.PORT_CLOSED}


def test_nothing_is_asked_that_changes_anything_before_it_is_due(begin: Begin) -> None:
    scene = begin()
    scene.pass_time(599)
    scene.wait_for_requests(IN_A_ROLE)
    assert scene.gluetun.outcomes == []
    assert scene.restart.due_in() == 1


def test_a_port_that_does_not_come_back_has_it_restarted_again_after_twice_the_time(
    begin: Begin,
) -> None:
    scene = begin()
    scene.pass_time()
    scene.wait_until_over()
    scene.pass_time(1199)
    assert scene.restart.due_in() == 1
    scene.pass_time(1)
    scene.wait_until_over()
    assert scene.gluetun.outcomes == ["stopped", "running"] * 2
    assert scene.restarts == 2


def test_a_vpn_found_stopped_is_started(begin: Begin) -> None:
    """As the next start finds it when qSticky was killed between the two."""
    scene = begin()
    scene.gluetun.vpn = "stopped"
    scene.pass_time()
    scene.wait_until_over()
    assert scene.gluetun.outcomes == ["already stopped", "running"]
    assert scene.restarts == 1
    assert scene.sentences[0] == (
        "Restarting the VPN (it was stopped): Gluetun has had no forwarded port for 10 min"
    )


@pytest.mark.parametrize("vpn", ["starting", "crashed"])
def test_a_vpn_that_gluetun_is_starting_itself_is_left_alone(begin: Begin, vpn: VpnStatus) -> None:
    scene = begin()
    scene.gluetun.vpn = vpn
    scene.pass_time()
    scene.wait_until_over()
    assert scene.gluetun.outcomes == [f"already {vpn}"]
    assert (scene.restarts, scene.news) == (0, [])
    scene.restart.note(NONE)
    assert scene.restart.due_in() == AFTER  # not doubled
    scene.restart.stop()
    assert scene.gluetun.outcomes == [f"already {vpn}"]


@pytest.mark.parametrize("outcome", ["stopping", "crashed"])
def test_an_outcome_of_a_gluetun_that_ends_or_that_lost_the_vpn_is_the_last_request(
    begin: Begin, outcome: str
) -> None:
    scene = begin()
    scene.restart.note(NONE)
    scene.wait_for_requests(IN_A_ROLE)
    scene.gluetun.fault = Answer(body=f'{{"outcome":"{outcome}"}}', only=IN_A_ROLE)
    scene.pass_time()
    scene.wait_until_over()
    assert len(scene.puts) == 2
    assert (scene.restarts, scene.news) == (0, [])


@pytest.mark.parametrize("outcome", ["stopping", "already stopping"])
def test_a_vpn_that_is_still_to_stop_is_told_to_run_again(begin: Begin, outcome: str) -> None:
    scene = begin()
    scene.gluetun.held = "stopping"
    scene.pass_time()
    wait_until(lambda: scene.gluetun.vpn == "stopping", LONG, "the VPN to be stopping")
    scene.gluetun.fault = Answer(body=f'{{"outcome":"{outcome}"}}', only=IN_A_ROLE)
    scene.gluetun.held = None
    wait_until(lambda: scene.clock.waits, LONG, "a pause")
    assert scene.restart._restarting
    scene.gluetun.fault = None
    scene.wait_until_over()
    assert scene.gluetun.outcomes == ["stopped", "running"]
    assert not any(news.failed for news in scene.news)


@pytest.mark.parametrize("status", [400, 404, 405])
def test_what_refuses_to_stop_the_vpn_is_told_and_not_told_to_start_it(
    begin: Begin, status: int
) -> None:
    scene = begin()
    scene.restart.note(NONE)
    scene.wait_for_requests(IN_A_ROLE)
    scene.gluetun.fault = Answer(status=status, only=IN_A_ROLE)
    scene.pass_time()
    scene.wait_until_over()
    assert len(scene.puts) == 2
    assert scene.restarts == 0
    assert [news.failed for news in scene.news] == [True]
    assert f"answered {status} to PUT /v1/vpn/status; check that GLUETUN_HOST" in scene.sentences[0]


def test_a_proxy_that_gives_up_on_stopped_has_the_vpn_started_all_the_same(begin: Begin) -> None:
    scene = begin()
    scene.restart.note(NONE)
    scene.wait_for_requests(IN_A_ROLE)
    scene.gluetun.fault = Answer(status=504, only=IN_A_ROLE)
    scene.pass_time()
    wait_until(lambda: scene.clock.waits, LONG, "a pause")
    scene.gluetun.fault = None
    scene.wait_until_over()
    assert scene.restarts == 1
    assert scene.gluetun.outcomes == ["already running"]


def test_a_vpn_that_does_not_start_is_told(begin: Begin) -> None:
    scene = begin()
    scene.gluetun.starts = "crashed"
    scene.pass_time()
    scene.wait_until_over()
    assert scene.gluetun.outcomes == ["stopped", "crashed"]
    assert scene.news[-1] == RestartNews(
        "Gluetun could not start the VPN (crashed), and tries again by itself; its log says why",
        Reason.NO_FORWARDED_PORT,
        failed=True,
    )


def test_a_gluetun_that_dies_between_the_two_is_told_to_run_until_it_is_back(begin: Begin) -> None:
    scene = begin()
    scene.gluetun.held = "stopping"
    scene.pass_time()
    wait_until(lambda: scene.gluetun.vpn == "stopping", LONG, "the VPN to be stopping")
    scene.gluetun.stop()
    wait_until(lambda: len(scene.clock.waits) >= 8, LONG, "some pauses")
    assert scene.restart._restarting
    scene.gluetun.held = None
    scene.gluetun.start()
    scene.wait_until_over()
    assert scene.gluetun.outcomes == ["already running"]
    assert scene.restarts == 1
    assert scene.clock.waits[:8] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_gluetun_that_hangs_between_the_two_is_told_once(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vpn_control, "_PATIENCE", PATIENCE)
    scene = begin()
    scene.gluetun.held = "stopping"
    scene.pass_time()
    wait_until(lambda: len(scene.clock.waits) >= 3, LONG, "some requests without an answer")
    scene.gluetun.held = None
    scene.wait_until_over()
    assert scene.gluetun.outcomes[:2] == ["stopped", "running"]
    assert scene.gluetun.vpn == "running"
    assert scene.pauses == [0, 1, len(scene.clock.waits)]
    assert [news for news in scene.news if news.failed] == [
        RestartNews(
            "Gluetun took none of 3 requests to stop and start the VPN; restart its container and "
            "those that share its network (docker compose up -d --force-recreate)",
            Reason.NO_FORWARDED_PORT,
            failed=True,
        )
    ]


def test_a_lost_answer_to_stopped_is_followed_by_running(begin: Begin) -> None:
    scene = begin()
    scene.restart.note(NONE)
    scene.wait_for_requests(IN_A_ROLE)
    scene.gluetun.fault = Disconnect(only=IN_A_ROLE)
    scene.pass_time()
    wait_until(lambda: "running" in scene.gluetun.outcomes, LONG, "the VPN to be started")
    scene.gluetun.fault = None
    scene.wait_until_over()
    assert scene.gluetun.vpn == "running"
    assert scene.restarts == 1


def test_a_gluetun_that_is_not_there_is_told_nothing(begin: Begin) -> None:
    scene = begin()
    scene.gluetun.stop()
    scene.pass_time()
    scene.wait_until_over()
    assert (scene.restarts, scene.news, scene.clock.waits) == (0, [], [])


# Permission


@pytest.mark.parametrize("forwarding", [PRESENT, NONE])
def test_a_role_that_permits_it_is_asked_once_and_not_told(
    begin: Begin, forwarding: Forwarding
) -> None:
    scene = begin(release="3.41.3", api_key="key")
    scene.restart.note(forwarding)
    scene.wait_for_requests(IN_A_ROLE)
    scene.restart.note(forwarding)
    scene.restart.stop()
    assert (scene.puts, scene.gluetun.outcomes, scene.news) == ([IN_A_ROLE], [], [])


def test_a_role_that_lacks_the_route_is_told_at_start_with_the_line_to_add(begin: Begin) -> None:
    scene = begin(api_key="key", routes=["GET /v1/portforward"])
    scene.restart.note(PRESENT)
    wait_until(lambda: scene.news, LONG, "the news")
    assert scene.news == [
        RestartNews(
            f"Gluetun's control server at {scene.gluetun.url} does not permit qSticky to restart "
            'the VPN; add "PUT /v1/vpn/status" to the routes of the role with qSticky\'s '
            "credential, or unset GLUETUN_RESTART_AFTER",
            Reason.GLUETUN_UNAUTHORIZED,
            failed=True,
        )
    ]


def test_a_silent_gluetun_is_asked_for_permission_once_it_speaks(begin: Begin) -> None:
    scene = begin(api_key="key", routes=["GET /v1/portforward"])
    scene.gluetun.stop()
    scene.restart.note(UNKNOWN)
    scene.restart.note(PRESENT)
    scene.gluetun.start()
    scene.restart.note(PRESENT)
    wait_until(lambda: scene.news, LONG, "the news")


def test_a_gluetun_that_tells_nothing_is_not_asked_for_permission(begin: Begin) -> None:
    """Where it refuses all, it would be told of a second refusal."""
    scene = begin()
    scene.restart.stop()
    wait_until(lambda: not restarting_threads(), LONG, "the thread to end")
    for forwarding, wakes in ((UNKNOWN, False), (PRESENT, True)):
        scene.restart._wake.clear()
        scene.restart.note(forwarding)
        assert scene.restart._wake.is_set() is wakes


def test_a_refusal_is_told_and_nothing_counted(begin: Begin) -> None:
    scene = begin(api_key="key", routes=["GET /v1/portforward"])
    scene.pass_time()
    scene.wait_until_over()
    assert scene.gluetun.vpn == "running"
    assert scene.restarts == 0
    assert {news.failed for news in scene.news} == {True}
    scene.restart.note(NONE)
    assert scene.restart.due_in() == AFTER


# Stopping


def restarting_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "vpn-restart"]


def test_stopped_between_the_two_it_sends_running(begin: Begin) -> None:
    scene = begin()
    scene.gluetun.held = "stopping"
    scene.pass_time()
    wait_until(lambda: scene.gluetun.vpn == "stopping", LONG, "the VPN to be stopping")
    began = time.monotonic()
    scene.restart.stop()
    assert time.monotonic() - began < 2
    scene.gluetun.held = None
    wait_until(lambda: scene.gluetun.vpn == "running", LONG, "the VPN to run again")


def test_stopped_while_gluetun_is_away_it_sends_running_in_vain_and_says_so(begin: Begin) -> None:
    scene = begin()
    scene.gluetun.held = "stopping"
    scene.pass_time()
    wait_until(lambda: scene.gluetun.vpn == "stopping", LONG, "the VPN to be stopping")
    scene.gluetun.stop()
    scene.restart.stop()
    assert any("Could not have the VPN started again" in line for line in scene.sentences)


def test_stopped_before_its_request_to_stop_is_answered_it_sends_running_after_it(
    begin: Begin,
) -> None:
    """What leaves first, over connections of their own, need not come in first."""
    scene = begin()
    scene.restart.note(NONE)
    scene.wait_for_requests(IN_A_ROLE)
    scene.gluetun.fault = Hang(only=IN_A_ROLE)
    scene.pass_time()
    scene.wait_for_requests(*[IN_A_ROLE] * 2)
    stopping = threading.Thread(target=scene.restart.stop)
    stopping.start()
    scene.wait_for_requests(*[IN_A_ROLE] * 3)
    scene.gluetun.fault = None
    stopping.join()
    wait_until(lambda: scene.gluetun.outcomes.count("running") == 1, LONG, "the VPN to run")
    assert scene.gluetun.vpn == "running"


def test_a_port_that_comes_while_it_asks_for_permission_keeps_the_vpn_running(
    begin: Begin,
) -> None:
    scene = begin()
    scene.gluetun.fault = Hang(only=IN_A_ROLE)
    scene.pass_time()
    scene.wait_for_requests(IN_A_ROLE)
    scene.restart.note(PRESENT)
    scene.gluetun.fault = None
    scene.wait_until_over()
    assert (scene.gluetun.outcomes, scene.restarts) == ([], 0)


def test_stopped_while_it_asks_for_permission_it_does_not_stop_the_vpn(begin: Begin) -> None:
    scene = begin()
    scene.gluetun.fault = Hang(only=IN_A_ROLE)
    scene.pass_time()
    scene.wait_for_requests(IN_A_ROLE)
    scene.restart.stop()
    scene.gluetun.fault = None
    wait_until(lambda: not restarting_threads(), LONG, "the thread to end")
    assert scene.gluetun.outcomes == []


@pytest.mark.parametrize("forwarding", [PRESENT, NONE, UNKNOWN])
def test_stopped_otherwise_it_sends_nothing_and_its_thread_ends(
    begin: Begin, forwarding: Forwarding
) -> None:
    scene = begin()
    scene.restart.note(forwarding)
    scene.restart.stop()
    wait_until(lambda: not restarting_threads(), LONG, "the thread to end")
    assert scene.gluetun.outcomes == []
