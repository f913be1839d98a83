"""What `qsticky check` finds at qBittorrent, and what is to be done about it."""

import socket

from qsticky.check.findings import Verdict
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from qsticky.demo.simulator import Answer, Hang, Request, Response
from tests.fakes import FakeClock
from tests.unit.check.conftest import PORT, Examine
from tests.unit.conftest import Certificates, Serve


def test_a_wrong_password_costs_one_login(
    examine: Examine, qbittorrent: QBittorrentSimulator
) -> None:
    found = examine(QBITTORRENT_PASS="hunter2")
    assert found.failed == ["authentication"]
    assert qbittorrent.failed_logins == 1
    told = found["authentication"]
    assert "refused the user name or the password" in told.text
    assert "the fifth refusal in a row bans this address" in told.text
    assert "each $ of a password is written $$" in told.remedies[0].text
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
    option, *variables = wrong.copied("authentication")
    assert option == "Options > Web UI > API Key"
    assert variables == ["QBITTORRENT_USER=admin", "QBITTORRENT_PASS=the-password-of-the-WebUI"]
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
    assert "network_mode: service:gluetun" not in found.copied("webui")  # where Gluetun answers
    assert found["socket"].verdict is Verdict.SKIPPED


def test_another_service_in_qbittorrent_s_place(
    examine: Examine, qbittorrent: QBittorrentSimulator
) -> None:
    qbittorrent.fault = Answer(body="<h1>Log in</h1>")
    found = examine()
    assert found.failed == ["webui"]
    assert "QBITTORRENT_HOST=localhost" in found.copied("webui")


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


def test_a_ca_is_asked_for_only_where_one_helps(
    examine: Examine, certificates: Certificates
) -> None:
    unverified = ["QBITTORRENT_HTTPS=true", "QBITTORRENT_VERIFY_SSL=false"]
    for context, by_ca in ((certificates.expired, False), (certificates.self_signed, True)):
        with QBittorrentSimulator(tls_context=context) as secured:
            there = {"QBITTORRENT_PORT": secured.port, "QBITTORRENT_CA_FILE": certificates.ca}
            copied = examine(**there).copied("webui")
        assert copied[:2] == unverified
        assert ("QBITTORRENT_CA_FILE=/path/to/certificate.pem" in copied[2:]) is by_ca


def test_what_answers_otherwise_is_no_webui_to_change_to(examine: Examine, serve: Serve) -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    found = examine(QBITTORRENT_PORT=serve(refuse).port, QBITTORRENT_HTTPS="true")
    assert found.failed == ["webui"]
    assert found.copied("webui") == ["QBITTORRENT_PORT=8080"]


def test_a_service_that_says_nothing_is_perhaps_at_another_port(
    examine: Examine, qbittorrent: QBittorrentSimulator
) -> None:
    qbittorrent.fault = Hang()
    found = examine(REQUEST_TIMEOUT=0.3)
    assert found.failed == ["webui"]
    assert found.copied("webui") == ["QBITTORRENT_PORT=8080"]


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
    assert "not a JSON object" in found["answer"].text
