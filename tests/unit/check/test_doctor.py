"""What `qsticky check` finds, what it says is to be done, and what it never does."""

import inspect
import io
import json
import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qsticky import config
from qsticky.check import doctor, findings
from qsticky.check import running_daemon as neighbour
from qsticky.check.doctor import Doctor
from qsticky.check.findings import Finding, Remedy, Section, Verdict
from qsticky.demo.gluetun_simulator import (
    OLD_PORT_ROUTE,
    PORT_ROUTE,
    PUBLIC_IP_ROUTE,
    GluetunSimulator,
)
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from qsticky.demo.simulator import Answer, Request, Response
from qsticky.kernel import netlink
from qsticky.kernel.netlink import Interface, Listener
from tests.fakes import FakeClock
from tests.real import free_port
from tests.unit.conftest import Certificates, Serve, always, read_request

PORT = 51500
KEY = "a-key"
PAGE = Path(__file__).parents[3] / "docs" / "check.md"
BEGIN, END = "<!-- example: begin -->\n", "<!-- example: end -->\n"
TUN0 = Interface("tun0", 7, up=True, addresses=(ip_address("10.2.0.2"),))
ANYBODY = Listener(ip_address("0.0.0.0"), PORT, 0)


class Kernel:
    """The kernel's part: one interface, and who listens at each look."""

    def __init__(self) -> None:
        self.there: Interface | None = TUN0
        self.looks: list[list[Listener]] = [[ANYBODY]]

    def interface(self, name: str) -> Interface | None:
        """The interface, if it has that name."""
        return self.there if self.there and self.there.name == name else None

    def listeners(self, _: int) -> Sequence[Listener]:
        """The next look's listeners; the last ones stay."""
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]


class Found:
    """All that one check found."""

    def __init__(self, findings: list[Finding]) -> None:
        self.all = findings

    def __getitem__(self, check: str) -> Finding:
        (finding,) = (finding for finding in self.all if finding.check == check)
        return finding

    def by(self, verdict: Verdict) -> list[str]:
        """The checks that ended so."""
        return [finding.check for finding in self.all if finding.verdict is verdict]

    @property
    def failed(self) -> list[str]:
        """The checks that failed."""
        return self.by(Verdict.FAILED)

    def copied(self, check: str) -> list[str]:
        """The lines to copy for it."""
        return [line for remedy in self[check].remedies for line in remedy.copy]


@pytest.fixture
def gluetun() -> Iterator[GluetunSimulator]:
    with GluetunSimulator(api_key=KEY, ports=[PORT]) as simulator:
        yield simulator


@pytest.fixture
def qbittorrent() -> Iterator[QBittorrentSimulator]:
    with QBittorrentSimulator(listen_port=PORT) as simulator:
        simulator.preferences["current_network_interface"] = "tun0"
        yield simulator


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(datetime.now(UTC).timestamp())


@pytest.fixture
def health_file(tmp_path: Path) -> Path:
    return tmp_path / "health" / "status.json"


@pytest.fixture
def variables(
    gluetun: GluetunSimulator,
    qbittorrent: QBittorrentSimulator,
    health_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, object]:
    """What is set where all holds; the environment has nothing else."""
    for name in list(os.environ):
        if name.startswith(("GLUETUN_", "QBITTORRENT_", "METRICS_", "LOG_", "HEALTH_", "VPN_")):
            monkeypatch.delenv(name)
    return {
        "GLUETUN_HOST": gluetun.host,
        "GLUETUN_PORT": gluetun.port,
        "GLUETUN_APIKEY": KEY,
        "QBITTORRENT_HOST": qbittorrent.host,
        "QBITTORRENT_PORT": qbittorrent.port,
        "METRICS_ADDRESS": "127.0.0.1",
        "METRICS_PORT": free_port(),
        "HEALTH_FILE": health_file,
        "REQUEST_TIMEOUT": 5,
    }


Examine = Callable[..., Found]


@pytest.fixture
def examine(
    variables: dict[str, object],
    kernel: Kernel,
    clock: FakeClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Examine:
    """Checks `variables` with what it is given; None unsets one of them."""

    def examine(**others: object) -> Found:
        with monkeypatch.context() as environment:
            for name, value in {**variables, **others}.items():
                if value is not None:
                    environment.setenv(name, str(value))
            loaded = config.load(tmp_path / "secrets")
            found = list(Doctor(loaded, clock, kernel).findings())
        assert {finding.check for finding in found} <= documented()
        return Found(found)

    return examine


def documented() -> set[str]:
    """Every name of a check in the documentation."""
    rows = re.findall(r"^\|[ \w]*\| (`.+?`) \|", PAGE.read_text(), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


# All holds


def test_where_all_holds_there_is_nothing_to_do(
    examine: Examine, qbittorrent: QBittorrentSimulator, health_file: Path
) -> None:
    before = dict(qbittorrent.preferences)
    found = examine()
    assert {finding.verdict for finding in found.all} == {Verdict.OK, Verdict.SKIPPED}
    assert found.by(Verdict.SKIPPED) == ["port_file", "daemon"]
    assert [finding.remedies for finding in found.all if finding.remedies] == []
    assert qbittorrent.preferences == before
    assert not health_file.parent.exists()


def test_it_logs_in_once_and_out_again_and_sets_nothing(
    examine: Examine, qbittorrent: QBittorrentSimulator
) -> None:
    examine()
    posts = [line for line in qbittorrent.requests if line.startswith("POST")]
    assert posts == ["POST /api/v2/auth/login", "POST /api/v2/auth/logout"]


def test_every_documented_check_is_one_that_it_makes() -> None:
    source = "".join(inspect.getsource(module) for module in (doctor, neighbour))
    assert [name for name in documented() if f'"{name}"' not in source] == []


# Configuration


def test_each_variable_that_is_set_is_told_with_its_source(
    examine: Examine, variables: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "secrets").mkdir()
    secret = tmp_path / "secrets" / "qbittorrent_pass"
    secret.write_text("adminadmin")
    told = [finding.text for finding in examine().all if finding.check == "setting"]
    assert f"QBITTORRENT_PORT={variables['QBITTORRENT_PORT']} (environment)" in told
    assert "GLUETUN_APIKEY is set (environment)" in told
    assert f"QBITTORRENT_PASS is set (file {secret})" in told
    assert len(told) == len(variables) + 1
    assert not any(KEY in text or "adminadmin" in text for text in told)


def test_the_defaults_are_counted(examine: Examine, variables: dict[str, object]) -> None:
    every = len(vars(config.load(Path("/no/such/folder"))))
    told = examine()["defaults"].text
    assert told == f"The other {every - len(variables)} variables have their defaults"


def test_a_variable_that_is_nearly_right_is_told(examine: Examine) -> None:
    found = examine(QBITTORRENT_PASSWORD="adminadmin")
    assert found["misspelt"].verdict is Verdict.WARNING
    assert "QBITTORRENT_PASSWORD" in found["misspelt"].text
    assert "is it QBITTORRENT_PASS?" in found["misspelt"].text


# Gluetun


@pytest.mark.parametrize(
    ("release", "route", "versions"),
    [("3.40", OLD_PORT_ROUTE, "up to 3.40"), ("master", PORT_ROUTE, "3.41 and later")],
)
def test_the_route_that_answers_tells_the_version(
    examine: Examine, release: Any, route: str, versions: str
) -> None:
    with GluetunSimulator(release=release, api_key=KEY, ports=[PORT]) as other:
        found = examine(GLUETUN_PORT=other.port)
    assert found.failed == []
    assert route in found["route"].text
    assert versions in found["route"].text


def test_nobody_at_gluetun_s_address(examine: Examine, gluetun: GluetunSimulator) -> None:
    gluetun.stop()
    found = examine()
    assert found.failed == ["control_server"]
    assert "GLUETUN_HOST=gluetun" in found.copied("control_server")
    assert "docker compose up -d --force-recreate" not in found.copied("control_server")


def test_a_gluetun_that_was_recreated(
    examine: Examine, gluetun: GluetunSimulator, kernel: Kernel
) -> None:
    gluetun.stop()
    kernel.there = None
    assert "docker compose up -d --force-recreate" in examine().copied("control_server")


def test_another_service_in_gluetun_s_place(examine: Examine, gluetun: GluetunSimulator) -> None:
    gluetun.fault = Answer(body="<h1>Log in</h1>")
    found = examine()
    assert found.failed == ["control_server"]
    assert "no JSON" in found["control_server"].text


@pytest.mark.parametrize(
    "unset", [{"GLUETUN_APIKEY": None}, {"GLUETUN_APIKEY": None, "GLUETUN_AUTH_TYPE": "none"}]
)
def test_without_a_credential_one_is_to_be_made_for_both(
    examine: Examine, unset: dict[str, object]
) -> None:
    found = examine(**unset)
    assert found.failed == ["route"]
    first, *others = found.copied("route")
    assert first == "GLUETUN_AUTH_TYPE=apikey"
    assert others[0] == "GLUETUN_APIKEY=a-long-random-key"
    assert others[1].endswith('={"auth":"apikey","apikey":"a-long-random-key"}')


def test_basic_credentials_stay_basic(examine: Examine) -> None:
    basic = {"GLUETUN_USERNAME": "me", "GLUETUN_PASSWORD": "hunter2"}
    with GluetunSimulator(username="me", password="other") as other:
        found = examine(GLUETUN_AUTH_TYPE="basic", GLUETUN_PORT=other.port, **basic)
    copied = "\n".join(found.copied("route"))
    assert 'auth = "basic"' in copied
    assert 'password = "the-value-of-GLUETUN_PASSWORD"' in copied
    assert "hunter2" not in copied


def test_no_role_ever_lists_both_port_routes(examine: Examine) -> None:
    remedies = examine(GLUETUN_APIKEY="other")["route"].remedies
    blocks = ["\n".join(remedy.copy) for remedy in remedies if "[[roles]]" in remedy.copy]
    assert len(blocks) == 2
    assert not any(PORT_ROUTE in block and OLD_PORT_ROUTE in block for block in blocks)


def test_no_forwarded_port(examine: Examine, gluetun: GluetunSimulator) -> None:
    gluetun.ports = ()
    found = examine()
    assert found.failed == ["forwarded_port"]
    assert "VPN_PORT_FORWARDING=on" in found.copied("forwarded_port")


def test_no_port_at_the_index(examine: Examine, gluetun: GluetunSimulator) -> None:
    gluetun.ports = (PORT, 6000)
    assert "number 1 of 2" in examine()["forwarded_port"].text
    found = examine(GLUETUN_PORT_INDEX=3)
    assert found.failed == ["forwarded_port"]
    assert found.copied("forwarded_port") == ["GLUETUN_PORT_INDEX=2"]


def test_the_optional_route_is_recommended_where_the_interface_is_not_visible(
    examine: Examine, kernel: Kernel
) -> None:
    with GluetunSimulator(api_key=KEY, ports=[PORT], routes=[PORT_ROUTE]) as other:
        assert examine(GLUETUN_PORT=other.port)["public_ip"].verdict is Verdict.SKIPPED
        kernel.there = None
        found = examine(GLUETUN_PORT=other.port)
    assert found["public_ip"].verdict is Verdict.WARNING
    assert f'routes = ["{PORT_ROUTE}", "{PUBLIC_IP_ROUTE}"]' in found.copied("public_ip")
    assert found.failed == []


def test_a_public_address_that_is_not_told(examine: Examine, gluetun: GluetunSimulator) -> None:
    gluetun.public_ip = ""
    assert examine()["public_ip"].verdict is Verdict.SKIPPED


@pytest.mark.parametrize(
    ("ports", "content", "verdict", "told"),
    [
        ((PORT,), str(PORT), Verdict.OK, f"has port {PORT} too (3 min ago)"),
        ((PORT,), "", Verdict.FAILED, "has no port in it"),
        ((PORT,), "51400", Verdict.WARNING, "has port 51400 (3 min ago), which is not what"),
        ((), "", Verdict.OK, "has no port too"),
        ((), "51400", Verdict.WARNING, "has port 51400"),
        (None, str(PORT), Verdict.OK, "used while Gluetun doesn't tell its own"),
        (None, "", Verdict.FAILED, "has no port in it"),
    ],
)
def test_the_port_file_is_compared_with_the_control_server(
    examine: Examine,
    gluetun: GluetunSimulator,
    clock: FakeClock,
    tmp_path: Path,
    ports: tuple[int, ...] | None,
    content: str,
    verdict: Verdict,
    told: str,
) -> None:
    file = tmp_path / "forwarded_port"
    file.write_text(content)
    os.utime(file, (0, clock.now() - 200))
    if ports is None:
        gluetun.stop()
    else:
        gluetun.ports = ports
    found = examine(GLUETUN_PORT_FILE=file)["port_file"]
    assert found.verdict is verdict
    assert told in found.text
    assert bool(found.remedies) is (verdict is Verdict.FAILED)


def test_a_port_file_that_is_missing(
    examine: Examine, gluetun: GluetunSimulator, tmp_path: Path
) -> None:
    file = tmp_path / "forwarded_port"
    found = examine(GLUETUN_PORT_FILE=file)
    assert found.failed == ["port_file"]
    assert "No such file" in found["port_file"].text
    assert f"volumes: [forwarded-port:{tmp_path}:ro]" in found.copied("port_file")
    gluetun.ports = ()  # up to 3.40.0, Gluetun deletes it then
    assert examine(GLUETUN_PORT_FILE=file)["port_file"].verdict is Verdict.OK
    assert not file.exists()


# qBittorrent


def test_a_wrong_password_costs_one_login(
    examine: Examine, qbittorrent: QBittorrentSimulator
) -> None:
    found = examine(QBITTORRENT_PASS="hunter2")
    assert found.failed == ["authentication"]
    assert qbittorrent.failed_logins == 1
    told = found["authentication"]
    assert "refused the user name or the password" in told.text
    assert "the fifth refusal in a row bans this address" in told.text
    assert "hunter2" not in repr(found.all)


class Forgetful(QBittorrentSimulator):
    """Ends every session at once."""

    def answer(self, request: Request) -> Response:
        """Answer, and forget who asked."""
        answer = super().answer(request)
        if request.line == "GET /api/v2/app/version":
            self.expire_sessions()
        return answer


def test_a_session_that_ends_meanwhile_costs_no_second_login(examine: Examine) -> None:
    with Forgetful(listen_port=PORT) as forgetful:
        found = examine(QBITTORRENT_PORT=forgetful.port)
    assert forgetful.requests.count("POST /api/v2/auth/login") == 1
    assert found.failed == ["answer"]
    assert "this check had its one login" in found["answer"].text


def test_a_ban(examine: Examine, qbittorrent: QBittorrentSimulator) -> None:
    qbittorrent.banned = True
    found = examine()
    assert found.failed == ["authentication"]
    assert found.copied("authentication")[-1] == "docker restart qbittorrent"


def test_an_api_key(examine: Examine) -> None:
    with QBittorrentSimulator(release="5.3", api_key="qbt_right", listen_port=PORT) as modern:
        right = examine(QBITTORRENT_PORT=modern.port, QBITTORRENT_API_KEY="qbt_right")
        wrong = examine(QBITTORRENT_PORT=modern.port, QBITTORRENT_API_KEY="qbt_wrong")
    assert "API_KEY is accepted" in right["authentication"].text
    assert wrong.failed == ["authentication"]
    assert wrong.copied("authentication") == ["Options > Web UI > API Key"]
    assert "POST /api/v2/auth/login" not in modern.requests


def test_where_no_login_is_needed_none_is_tried_and_one_session_opened(examine: Examine) -> None:
    with QBittorrentSimulator(bypass=True, listen_port=PORT) as open_to_us:
        found = examine(QBITTORRENT_PORT=open_to_us.port, QBITTORRENT_PASS="whatever")
        assert "were not tried" in found["authentication"].text
        assert found.failed == []
        assert open_to_us.requests[-1] == "POST /api/v2/auth/logout"


def test_nobody_at_qbittorrent_s_address(
    examine: Examine, qbittorrent: QBittorrentSimulator
) -> None:
    qbittorrent.stop()
    found = examine()
    assert found.failed == ["webui"]
    assert "QBITTORRENT_HOST=localhost" in found.copied("webui")
    assert found["socket"].verdict is Verdict.SKIPPED


def test_another_service_in_qbittorrent_s_place(
    examine: Examine, qbittorrent: QBittorrentSimulator
) -> None:
    qbittorrent.fault = Answer(body="<h1>Log in</h1>")
    found = examine()
    assert found.failed == ["webui"]
    assert found["webui"].remedies == ()


def test_https_with_a_certificate_that_is_trusted_needs_only_https(
    examine: Examine, certificates: Certificates
) -> None:
    with QBittorrentSimulator(tls_context=certificates.right, listen_port=PORT) as secured:
        there = {"QBITTORRENT_PORT": secured.port, "QBITTORRENT_CA_FILE": certificates.ca}
        found = examine(**there)
        assert found.copied("webui") == ["QBITTORRENT_HTTPS=true"]
        assert examine(**there, QBITTORRENT_HTTPS="true").failed == []
    assert "POST /api/v2/auth/login" in secured.requests  # by the last, and no probe
    assert secured.requests.count("POST /api/v2/auth/login") == 1


def test_https_with_a_certificate_that_is_not_trusted_needs_more(
    examine: Examine, certificates: Certificates
) -> None:
    with QBittorrentSimulator(tls_context=certificates.self_signed) as secured:
        found = examine(QBITTORRENT_PORT=secured.port)
    first, second = found["webui"].remedies
    assert first.copy == ("QBITTORRENT_HTTPS=true", "QBITTORRENT_VERIFY_SSL=false")
    assert second.copy[1].startswith("QBITTORRENT_CA_FILE=")
    assert "POST /api/v2/auth/login" not in secured.requests


def test_what_answers_otherwise_is_no_webui_to_change_to(examine: Examine, serve: Serve) -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    found = examine(QBITTORRENT_PORT=serve(refuse).port, QBITTORRENT_HTTPS="true")
    assert found.failed == ["webui"]
    assert found["webui"].remedies == ()


def test_preferences_that_a_forwarded_port_does_not_want(
    examine: Examine, qbittorrent: QBittorrentSimulator
) -> None:
    qbittorrent.listen_port = 0
    qbittorrent.preferences |= {"upnp": True, "current_network_interface": "eth0"}
    found = examine()
    assert found.by(Verdict.WARNING) == ["random_port", "upnp", "binding"]
    assert f"qSticky sets {PORT} once it runs" in found["listen_port"].text
    assert "bound to eth0" in found["binding"].text
    assert found.copied("binding") == ["Options > Advanced > Network interface: tun0"]


def test_a_disconnected_qbittorrent_is_asked_twice(
    examine: Examine, qbittorrent: QBittorrentSimulator, clock: FakeClock
) -> None:
    qbittorrent.connection_status = "disconnected"
    found = examine()
    assert found.failed == ["connection"]
    assert clock.waits == [2.0]


def test_settings_that_cannot_be_read_fail_the_check(
    examine: Examine, qbittorrent: QBittorrentSimulator
) -> None:
    qbittorrent.fault = Answer(body="[]", only="GET /api/v2/app/preferences")
    found = examine()
    assert found.failed == ["answer"]
    assert "no JSON object" in found["answer"].text


# Beside a running qSticky


def document(**facts: object) -> dict[str, Any]:
    """A health document, as the daemon writes it."""
    services = {"qbittorrent": {"connected": facts.pop("connected", False)}}
    return {
        "healthy": False,
        "status": "failing",
        "reason": "qbittorrent_unauthorized",
        "last_error": "qBittorrent refused the password",
        "services": services,
        "stale_after": "2999-01-01T00:00:00Z",
        **facts,
    }


Says = Callable[..., None]


@pytest.fixture
def says(health_file: Path) -> Says:
    """Writes the health file of a running qSticky."""

    def says(**facts: object) -> None:
        health_file.parent.mkdir(exist_ok=True)
        health_file.write_text(json.dumps(document(**facts)))

    return says


@pytest.mark.parametrize("reason", ["qbittorrent_unauthorized", "qbittorrent_banned"])
def test_where_the_daemon_was_refused_no_login_is_tried(
    examine: Examine, says: Says, qbittorrent: QBittorrentSimulator, reason: str
) -> None:
    says(reason=reason)
    found = examine()
    assert found.failed == ["authentication", "daemon"]
    assert "POST /api/v2/auth/login" not in qbittorrent.requests
    told = found["authentication"].text
    assert told.startswith("No login was tried, as the fifth refused one would bring a ban")
    assert "qBittorrent refused the password" in told
    lifts = "docker restart qbittorrent" in found.copied("authentication")
    assert lifts is (reason == "qbittorrent_banned")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("failing", "gluetun_unreachable"),
        ("failing", "qbittorrent_unreachable"),
        ("starting", None),
    ],
)
def test_where_the_daemon_is_not_let_in_whatever_it_says_no_login_is_tried(
    examine: Examine, says: Says, qbittorrent: QBittorrentSimulator, status: str, reason: str | None
) -> None:
    # Gluetun's failure is told before qBittorrent's, and hides that one.
    says(status=status, reason=reason)
    found = examine()
    assert found["authentication"].verdict is Verdict.SKIPPED
    assert "POST /api/v2/auth/login" not in qbittorrent.requests


@pytest.mark.parametrize(
    "facts",
    [{"connected": True}, {"stale_after": "2000-01-01T00:00:00Z"}],
    ids=["it has a session", "it died"],
)
def test_a_login_is_tried_where_the_daemon_can_not_have_been_refused(
    examine: Examine, says: Says, qbittorrent: QBittorrentSimulator, facts: dict[str, object]
) -> None:
    says(**facts)
    assert examine()["authentication"].verdict is Verdict.OK
    assert "POST /api/v2/auth/login" in qbittorrent.requests


def test_an_api_key_is_tried_in_any_case(examine: Examine, says: Says) -> None:
    says()
    with QBittorrentSimulator(release="5.3", api_key="qbt_right", listen_port=PORT) as modern:
        found = examine(QBITTORRENT_PORT=modern.port, QBITTORRENT_API_KEY="qbt_right")
    assert found["authentication"].verdict is Verdict.OK


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        ({"healthy": True, "status": "synced", "connected": True}, Verdict.OK),
        ({"healthy": True, "status": "waiting", "connected": True}, Verdict.OK),
        ({"status": "starting", "reason": None}, Verdict.WARNING),
        ({"reason": "not_listening", "connected": True}, Verdict.FAILED),
    ],
)
def test_the_daemon_s_word_is_told(
    examine: Examine, says: Says, facts: dict[str, object], verdict: Verdict
) -> None:
    says(**facts)
    assert examine()["daemon"].verdict is verdict


def test_a_stale_health_file_is_told(examine: Examine, says: Says) -> None:
    says(stale_after="2000-01-01T00:00:00Z")
    found = examine()
    assert found["health_file"].verdict is Verdict.WARNING
    assert "the daemon hangs or died" in found["health_file"].text
    assert found["daemon"].verdict is Verdict.SKIPPED


_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    facts=st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(document(), _json),
    ),
    whole=st.booleans(),
)
def test_whatever_is_in_the_health_file_the_check_goes_on(
    examine: Examine, health_file: Path, facts: dict[str, object], whole: bool
) -> None:
    health_file.parent.mkdir(exist_ok=True)
    health_file.write_text(json.dumps(document(**facts) if whole else facts))
    assert "internal" not in {finding.check for finding in examine().all}


@pytest.mark.parametrize("kind", ["a folder", "below a file", "a FIFO"])
def test_a_health_file_in_a_wrong_place(
    examine: Examine, health_file: Path, tmp_path: Path, kind: str
) -> None:
    if kind == "below a file":
        health_file.parent.touch()
    else:
        health_file.parent.mkdir()
        health_file.mkdir() if kind == "a folder" else os.mkfifo(health_file)
    before = sorted(tmp_path.rglob("*"))
    found = examine()
    assert found.failed == ([] if kind == "a FIFO" else ["health_file"])
    assert sorted(tmp_path.rglob("*")) == before


def test_a_health_file_s_folder_that_is_closed_to_us(
    examine: Examine, health_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root is never refused
    found = examine()
    assert found.failed == ["health_file"]
    assert "tmpfs: [/tmp]" in found.copied("health_file")
    assert not health_file.parent.exists()


def test_a_metrics_port_that_another_program_has(examine: Examine, serve: Serve) -> None:
    received: list[bytes] = []

    def listen(connection: socket.socket) -> None:
        while request := read_request(connection):
            received.append(request)
            connection.sendall(b"HTTP/1.1 200 OK\r\nServer: other\r\nContent-Length: 0\r\n\r\n")

    stranger = serve(listen)
    credentials = {"METRICS_USERNAME": "me", "METRICS_PASSWORD": "secret"}
    found = examine(METRICS_PORT=stranger.port, **credentials)
    assert found.failed == ["metrics_port"]
    assert received
    assert not any(b"authorization" in request.lower() for request in received)
    (line,) = found.copied("metrics_port")
    name, _, value = line.partition("=")
    assert examine(**{name: value}).failed == []


def test_a_daemon_that_refuses_the_metrics_credentials(examine: Examine, serve: Serve) -> None:
    answer = b"HTTP/1.1 401 Unauthorized\r\nServer: qSticky\r\nContent-Length: 0\r\n\r\n"
    found = examine(METRICS_PORT=serve(always(answer)).port)
    assert found.failed == ["metrics_port"]
    assert "refuses METRICS_USERNAME and METRICS_PASSWORD" in found["metrics_port"].text


def test_a_daemon_is_also_known_by_what_it_serves(
    examine: Examine, serve: Serve, qbittorrent: QBittorrentSimulator
) -> None:
    body = json.dumps(document()).encode()
    head = f"HTTP/1.1 503 No\r\nServer: qSticky\r\nContent-Length: {len(body)}\r\n\r\n"
    found = examine(METRICS_PORT=serve(always(head.encode() + body)).port)
    assert found.failed == ["authentication", "daemon"]
    assert "POST /api/v2/auth/login" not in qbittorrent.requests


def test_a_metrics_address_that_is_not_ours(examine: Examine) -> None:
    found = examine(METRICS_ADDRESS="192.0.2.1")
    assert found.failed == ["metrics_port"]
    assert "METRICS_ADDRESS=0.0.0.0" in found.copied("metrics_port")


def test_looking_at_the_port_keeps_no_daemon_from_it(variables: dict[str, object]) -> None:
    port = int(str(variables["METRICS_PORT"]))
    with socket.create_server(("127.0.0.1", port)):
        assert neighbour._bind("127.0.0.1", port)
    assert neighbour._bind("127.0.0.1", port) is None


def test_a_certificate_without_its_key(examine: Examine, certificates: Certificates) -> None:
    pem = certificates.ca  # no key in it
    found = examine(METRICS_TLS_CERT_FILE=pem, METRICS_TLS_KEY_FILE=pem)
    assert found.failed == ["metrics_tls"]


# Listening


def test_a_missing_socket_is_looked_for_twice(
    examine: Examine, kernel: Kernel, clock: FakeClock
) -> None:
    kernel.looks = [[], [ANYBODY]]
    assert examine().failed == []
    assert clock.waits == [1.0]
    kernel.looks = [[]]
    found = examine()
    assert found.failed == ["socket"]
    assert f"port {PORT} and no socket on tun0" in found["socket"].text


def test_a_kernel_that_does_not_tell(
    examine: Examine, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> Sequence[Listener]:
        raise OSError

    monkeypatch.setattr(kernel, "listeners", refuse)
    assert examine()["socket"].verdict is Verdict.SKIPPED


def test_an_interface_that_is_down(examine: Examine, kernel: Kernel) -> None:
    kernel.there = replace(TUN0, addresses=())
    assert examine().failed == ["interface"]


def test_an_interface_of_another_name(
    examine: Examine, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.there = None
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "lo"), (2, "eth0")])
    assert examine()["interface"].verdict is Verdict.SKIPPED
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "lo"), (2, "wg0")])
    assert examine().copied("interface") == ["VPN_INTERFACE=wg0"]


def test_a_qbittorrent_elsewhere_cannot_be_looked_at(
    examine: Examine, qbittorrent: QBittorrentSimulator
) -> None:
    qbittorrent.stop()
    found = examine(QBITTORRENT_HOST="192.0.2.1", REQUEST_TIMEOUT=0.1)
    assert found["interface"].verdict is Verdict.SKIPPED


# Whatever happens


@pytest.mark.parametrize(
    ("of", "name"),
    [
        (netlink, "interface"),
        (config, "settings"),
        (neighbour, "_bind"),
        (neighbour, "_content"),
        (doctor, "make_qbittorrent"),
        (doctor, "open_at_once"),
    ],
)
def test_a_mistake_of_its_own_ends_no_other_check_and_tells_no_secret(
    examine: Examine,
    kernel: Kernel,
    qbittorrent: QBittorrentSimulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    of: object,
    name: str,
) -> None:
    def mistake(*_: object, **__: object) -> None:
        raise KeyError("hunter2")

    file = tmp_path / "forwarded_port"
    file.write_text(str(PORT))
    whole = examine(GLUETUN_PORT_FILE=file)
    qbittorrent.requests.clear()
    monkeypatch.setattr(of if of is not netlink else kernel, name, mistake)
    found = examine(GLUETUN_PORT_FILE=file)
    assert found.failed
    assert {finding.section for finding in found.all} == {f.section for f in whole.all}
    internal = [finding for finding in found.all if finding.check == "internal"]
    assert internal
    assert "KeyError at test_doctor.py:" in internal[0].text
    assert "hunter2" not in repr(found.all)
    if of is neighbour:  # a running daemon may have been refused: nobody knows
        assert ("POST /api/v2/auth/login" in qbittorrent.requests) is (name == "_bind")


# How it is written


def written(*found: Finding, terminal: bool = False) -> str:
    """Write findings to a terminal, or something else."""
    out = io.StringIO()
    out.isatty = lambda: terminal  # type: ignore[method-assign]
    assert findings.write(found, out) == list(found)
    return out.getvalue()


SECTION = Section("Section")
LONG = "A sentence that is long enough to be broken, which is so at eighty columns, and not later"


def test_lines_are_broken_at_80_columns_with_a_hanging_indent() -> None:
    assert written(SECTION.ok("one", LONG), Section("Other").skipped("two", "Short")) == (
        "Section\n"
        "  ok       A sentence that is long enough to be broken, which is so at eighty\n"
        "           columns, and not later\n"
        "\n"
        "Other\n"
        "  skipped  Short\n"
        "\n"
        "All holds.\n"
    )


def test_what_is_to_be_copied_is_never_broken_and_stands_alone() -> None:
    copied = "NAME=" + "long " * 30
    text = written(
        SECTION.failed("one", "It fails", Remedy("Set:", (copied,)), Remedy("Or:", ("a", "b"))),
        SECTION.ok("two", "It holds"),
    )
    assert text == (
        "Section\n"
        "  FAILED   It fails\n"
        "\n"
        "           Set:\n"
        "\n"
        f"    {copied}\n"
        "\n"
        "           Or:\n"
        "\n"
        "    a\n"
        "    b\n"
        "\n"
        "  ok       It holds\n"
        "\n"
        "FAILED: 1 of 2 findings.\n"
    )


@pytest.mark.parametrize(
    ("environment", "colours"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colours_are_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], colours: bool
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    finding = SECTION.warning("one", LONG)
    plain, coloured = written(finding), written(finding, terminal=True)
    assert ("\x1b[" in coloured) is colours
    assert "\x1b[" not in plain
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain


def test_what_would_act_on_a_terminal_is_written_as_an_escape() -> None:
    text = written(SECTION.failed("one", "a\x1b[2Jb \udcff", Remedy("Set:", ("c\rd",))))
    assert "a\\x1b[2Jb \\udcff" in text
    assert "c\\rd" in text


@pytest.mark.parametrize(
    ("verdicts", "summary"),
    [
        ([], "All holds."),
        (["ok", "skipped"], "All holds."),
        (["ok", "warning"], "All holds, with 1 recommendation."),
        (["warning", "warning"], "All holds, with 2 recommendations."),
        (["ok", "failed"], "FAILED: 1 of 2 findings."),
        (["failed", "failed"], "FAILED: 2 of 2 findings. Begin with the first."),
        (["failed", "warning"], "FAILED: 1 of 2 findings. See the 1 warning too."),
    ],
)
def test_the_summary_is_one_line(verdicts: list[str], summary: str) -> None:
    found = [Finding("A", "b", Verdict(verdict), "c") for verdict in verdicts]
    assert findings.summary(found) == summary
    assert findings.document(found)["ok"] is not summary.startswith("FAILED")


def run(capsys: pytest.CaptureFixture[str], *, as_json: bool) -> tuple[int, str]:
    code = doctor.main(as_json)
    printed = capsys.readouterr()
    assert printed.err == ""
    return code, printed.out


@pytest.mark.usefixtures("variables")
@pytest.mark.parametrize("as_json", [False, True])
def test_every_mistake_of_the_configuration_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    as_json: bool,
) -> None:
    monkeypatch.setenv("QBITTORRENT_PORT", "high")
    monkeypatch.setenv("METRICS_PASSWORD", "hunter2")
    code, out = run(capsys, as_json=as_json)
    assert code == 2
    assert "hunter2" not in out
    if as_json:
        told = [(each["check"], each["verdict"]) for each in json.loads(out)["findings"]]
        assert told == [("mistake", "failed")] * 2
        assert json.loads(out)["ok"] is False
    else:
        assert out.count("FAILED   ") == 2


@pytest.mark.usefixtures("variables")
@pytest.mark.parametrize("verdict", ["ok", "failed"])
def test_the_exit_code_and_the_document_say_the_same(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verdict: str,
) -> None:
    finding = Finding("A", "b", Verdict(verdict), "c", (Remedy("d", ("e", "f")),))
    monkeypatch.setattr(Doctor, "findings", lambda _: iter([finding]))
    code, out = run(capsys, as_json=True)
    assert code == (verdict == "failed")
    read = json.loads(out)
    assert read.keys() == {"version", "ok", "summary", "findings"}
    assert read["findings"] == [
        {
            "section": "A",
            "check": "b",
            "verdict": verdict,
            "text": "c",
            "remedies": [{"text": "d", "copy": ["e", "f"]}],
        }
    ]
    fields = set(re.findall(r"^\| `(?:findings.*\.)?(\w+)`", PAGE.read_text(), re.MULTILINE))
    assert {*read, *read["findings"][0], *read["findings"][0]["remedies"][0]} <= fields
    assert run(capsys, as_json=False)[0] == code


@pytest.mark.usefixtures("variables")
def test_an_interrupt_ends_it_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(_: object) -> Iterator[Finding]:
        raise KeyboardInterrupt

    monkeypatch.setattr(Doctor, "findings", interrupt)
    assert run(capsys, as_json=False) == (130, "")


# The documentation


def test_the_example_in_the_documentation_is_what_it_writes(
    examine: Examine, qbittorrent: QBittorrentSimulator, tmp_path: Path
) -> None:
    qbittorrent.preferences["current_network_interface"] = ""
    with GluetunSimulator(api_key=KEY, ports=[PORT], routes=[OLD_PORT_ROUTE]) as outdated:
        found = examine(GLUETUN_PORT=outdated.port, QBITTORRENT_PASS="adminadmin")

    def usual(finding: Finding) -> Finding:
        text = finding.text.replace(f"{tmp_path}", "/tmp").replace("127.0.0.1", "localhost")
        for port, known in ((outdated.port, 8000), (qbittorrent.port, 8080)):
            text = text.replace(f"localhost:{port}", f"localhost:{known}")
        text = re.sub(r"METRICS_PORT \d+", "METRICS_PORT 10058", text)
        text = re.sub(r"The other \d+", f"The other {len(vars(config.load())) - 2}", text)
        return replace(finding, text=text)

    secrets = ("GLUETUN_APIKEY", "QBITTORRENT_PASS")
    shown = [
        usual(finding)
        for finding in found.all
        if finding.check != "setting" or finding.text.startswith(secrets)
    ]
    example = f"```text\n{written(*shown)}```\n"
    page = PAGE.read_text()
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(page.partition(BEGIN)[0] + BEGIN + example + END + page.partition(END)[2])
    assert PAGE.read_text().partition(BEGIN)[2].partition(END)[0] == example
