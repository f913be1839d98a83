"""What tests and the demo may rely on in the simulator itself: faults, stopping, its record."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from qsticky.demo.gluetun_simulator import GluetunSimulator
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from qsticky.demo.simulator import Answer, Disconnect, Drip, Fault, Hang
from tests.real import wait_until

PATH = "/v1/portforward"


@pytest.fixture
def gluetun() -> Iterator[GluetunSimulator]:
    with GluetunSimulator(ports=[5914]) as simulator:
        yield simulator


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def test_it_records_what_was_asked_in_order(
    gluetun: GluetunSimulator, session: requests.Session
) -> None:
    session.get(gluetun.url + PATH, params={"a": "b"}, timeout=5)
    session.post(gluetun.url + "/x", data={"a": "b"}, timeout=5)
    assert gluetun.requests == [f"GET {PATH}", "POST /x"]


def test_its_ports_can_change_at_any_time(
    gluetun: GluetunSimulator, session: requests.Session
) -> None:
    gluetun.ports = (6000,)
    assert session.get(gluetun.url + PATH, timeout=5).json() == {"port": 6000}


def test_a_hanging_request_is_answered_once_the_fault_is_cleared(
    gluetun: GluetunSimulator, session: requests.Session
) -> None:
    gluetun.fault = Hang()
    with pytest.raises(requests.ReadTimeout):
        session.get(gluetun.url + PATH, timeout=0.2)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(session.get, gluetun.url + PATH, timeout=5)
        wait_until(lambda: len(gluetun.requests) == 2, 2, "the request to come in")
        assert not answer.done()
        gluetun.fault = None
        assert answer.result().status_code == 200


@pytest.mark.parametrize("fault", [Hang(), Drip(0.1, "headers")], ids=["hang", "drip"])
def test_stopping_is_quick_and_closes_connections_that_wait(
    gluetun: GluetunSimulator, session: requests.Session, fault: Fault
) -> None:
    gluetun.fault = fault
    failures: list[requests.RequestException] = []

    def ask() -> None:
        try:
            session.get(gluetun.url + PATH, timeout=5)
        except requests.RequestException as error:
            failures.append(error)

    client = threading.Thread(target=ask)
    client.start()
    wait_until(lambda: gluetun.requests, 2, "the request to come in")
    began = time.monotonic()
    gluetun.stop()
    client.join()
    assert time.monotonic() - began < 0.5
    assert isinstance(failures[0], requests.ConnectionError)


def test_stopped_it_refuses_and_started_again_it_serves_on_the_same_port(
    gluetun: GluetunSimulator, session: requests.Session
) -> None:
    url = gluetun.url + PATH
    assert session.get(url, timeout=5).ok
    gluetun.stop()
    with pytest.raises(requests.ConnectionError, match="refused"):
        session.get(url, timeout=5)
    gluetun.start()
    assert session.get(url, timeout=5).ok


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_dripped_answer_is_whole_in_the_end(
    gluetun: GluetunSimulator, session: requests.Session, part: str
) -> None:
    gluetun.fault = Drip(0.002, "headers" if part == "headers" else "body")
    began = time.monotonic()
    with session.get(gluetun.url + PATH, timeout=5, stream=True) as response:
        until_headers = time.monotonic() - began
        assert response.json() == {"port": 5914}
    assert (until_headers > 0.1) is (part == "headers")


def test_any_answer_can_be_put_in_place_of_the_real_one(
    gluetun: GluetunSimulator, session: requests.Session
) -> None:
    gluetun.fault = Answer(status=502, body="<h1>Bad gateway</h1>")
    response = session.get(gluetun.url + PATH, timeout=5)
    assert (response.status_code, response.text) == (502, "<h1>Bad gateway</h1>")


@pytest.mark.parametrize("after", [0, 85], ids=["at-once", "in-the-body"])
def test_a_connection_can_be_cut_at_any_byte(
    gluetun: GluetunSimulator, session: requests.Session, after: int
) -> None:
    gluetun.fault = Disconnect(after=after)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        session.get(gluetun.url + PATH, timeout=5)


def test_a_fault_can_be_limited_to_some_requests(
    gluetun: GluetunSimulator, session: requests.Session
) -> None:
    gluetun.fault = Answer(status=500, only=f"GET {PATH}")
    assert session.get(gluetun.url + PATH, timeout=5).status_code == 500
    assert session.get(gluetun.url + "/v1/vpn/status", timeout=5).status_code == 200


def test_it_says_nothing_when_clients_vanish(
    gluetun: GluetunSimulator, session: requests.Session, capfd: pytest.CaptureFixture[str]
) -> None:
    gluetun.fault = Drip(0.01, "headers")
    with pytest.raises(requests.ReadTimeout):
        session.get(gluetun.url + PATH, timeout=0.005)
    session.close()
    wait_until(lambda: gluetun.connections == 0, 2, "the connection to be let go")
    assert capfd.readouterr() == ("", "")


def test_it_serves_over_ipv6(session: requests.Session) -> None:
    with GluetunSimulator(host="::1", ports=[5914]) as gluetun:
        assert gluetun.url.startswith("http://[::1]:")
        assert session.get(gluetun.url + PATH, timeout=5).ok


def test_qbittorrent_tells_every_port_it_opened(session: requests.Session) -> None:
    with QBittorrentSimulator(bypass=True, listen_port=50001) as qbittorrent:
        for port in (50001, 50002, 50002, 50001):
            form = {"json": f'{{"listen_port": {port}}}'}
            session.post(f"{qbittorrent.url}/api/v2/app/setPreferences", data=form, timeout=5)
        assert qbittorrent.history == [50002, 50001]


def test_qbittorrent_can_take_a_port_and_keep_another_one(session: requests.Session) -> None:
    with QBittorrentSimulator(bypass=True, listen_port=50001) as qbittorrent:
        qbittorrent.ignores_settings = True
        form = {"json": '{"listen_port": 50002}'}
        url = f"{qbittorrent.url}/api/v2/app/setPreferences"
        assert session.post(url, data=form, timeout=5).status_code == 200
        assert qbittorrent.listen_port == 50001


def test_qbittorrent_can_be_told_to_forget_sessions_and_bans(session: requests.Session) -> None:
    with QBittorrentSimulator() as qbittorrent:
        api = f"{qbittorrent.url}/api/v2"
        login = {"username": "admin", "password": "adminadmin"}
        qbittorrent.banned = True
        assert session.post(f"{api}/auth/login", data=login, timeout=5).status_code == 403
        qbittorrent.banned = False
        assert session.post(f"{api}/auth/login", data=login, timeout=5).text == "Ok."
        qbittorrent.expire_sessions()
        assert session.get(f"{api}/app/version", timeout=5).status_code == 403
