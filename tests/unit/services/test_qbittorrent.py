"""What is read from qBittorrent's answers, and what is set."""

import json
from ipaddress import ip_address
from typing import Any

import pytest

from qsticky.errors import ErrorKind, Reason, ServiceError
from qsticky.services.listen_log import LogMark
from qsticky.services.qbittorrent import (
    ConnectionStatus,
    Preferences,
    Protocol,
    QBittorrent,
    TransferInfo,
)
from tests.unit.services.conftest import (
    ADDRESSES,
    INFO,
    INTERFACES,
    LOG,
    READ,
    SHOWN,
    URL,
    VERSION,
    WRITE,
    WebUI,
)
from tests.unit.services.mocker import Context, Mocker, Request


def failure(qbittorrent: QBittorrent) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        qbittorrent.preferences()
    assert caught.value.reason is Reason.QBITTORRENT_INVALID_RESPONSE
    assert str(caught.value).startswith(f"qBittorrent at {URL} ")
    return caught.value


@pytest.fixture
def open_webui(webui: WebUI) -> WebUI:
    """One that needs no login."""
    webui.bypass = True
    return webui


def test_preferences_are_read(open_webui: WebUI, qbittorrent: QBittorrent) -> None:
    assert qbittorrent.preferences() == Preferences(
        50001, upnp=True, interface="tun0", web_ui_port=8080
    )
    assert open_webui.calls == [READ]


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_cannot_be_is_read_as_it_is(
    open_webui: WebUI, qbittorrent: QBittorrent, port: int
) -> None:
    open_webui.answers(READ, json.dumps({"listen_port": port}))
    assert qbittorrent.preferences() == Preferences(port)


@pytest.mark.parametrize(
    ("value", "protocol"),
    [(0, Protocol.TCP_AND_UTP), (1, Protocol.TCP), (2, Protocol.UTP), (3, Protocol.TCP_AND_UTP)],
)
def test_the_protocol_is_one_of_three(
    open_webui: WebUI, qbittorrent: QBittorrent, value: int, protocol: Protocol
) -> None:
    open_webui.answers(READ, json.dumps({**SHOWN, "bittorrent_protocol": value}))
    assert qbittorrent.preferences().protocol is protocol


BY_PROXY = {"proxy_type": "SOCKS5", "proxy_peer_connections": True, "proxy_bittorrent": True}


@pytest.mark.parametrize(
    ("settings", "by_proxy"),
    [
        (BY_PROXY, True),
        ({**BY_PROXY, "proxy_type": "HTTP"}, True),
        ({**BY_PROXY, "proxy_type": "None"}, False),
        ({**BY_PROXY, "proxy_bittorrent": False}, False),
        ({**BY_PROXY, "proxy_peer_connections": False}, False),
        ({"proxy_type": 2, "proxy_peer_connections": True}, True),  # to 4.5
        ({"proxy_type": 0, "proxy_peer_connections": True}, False),
        ({"proxy_type": -1, "proxy_peer_connections": True}, False),
        ({"proxy_type": True, "proxy_peer_connections": True}, False),
    ],
)
def test_peers_by_proxy_need_the_proxy_and_the_switch(
    open_webui: WebUI, qbittorrent: QBittorrent, settings: dict[str, object], by_proxy: bool
) -> None:
    open_webui.answers(READ, json.dumps({**SHOWN, **settings}))
    assert qbittorrent.preferences().peer_proxy is by_proxy


def test_a_ban_list_of_megabytes_is_read_past(open_webui: WebUI, qbittorrent: QBittorrent) -> None:
    addresses = "\n".join(f"203.0.{n // 250}.{n % 250}" for n in range(200_000))
    open_webui.answers(READ, json.dumps({"banned_IPs": addresses, **SHOWN}))
    assert qbittorrent.preferences().listen_port == 50001


def test_names_are_kept_so_that_they_can_be_shown(
    open_webui: WebUI, qbittorrent: QBittorrent
) -> None:
    odd = '{"listen_port":1,"current_network_interface":"a\\ud800\\u001b[2J"}'
    open_webui.answers(READ, odd)
    assert qbittorrent.preferences().interface == "a\\ud800\\x1b[2J"


@pytest.mark.parametrize("value", [None, 1, "true", [], 0])
def test_a_switch_that_is_not_true_is_off(
    open_webui: WebUI, qbittorrent: QBittorrent, value: object
) -> None:
    open_webui.answers(READ, json.dumps({**SHOWN, "random_port": value, "upnp": value}))
    preferences = qbittorrent.preferences()
    assert not preferences.random_port
    assert not preferences.upnp


NO_PREFERENCES = [
    "{}",
    *(f'{{"listen_port":{port}}}' for port in ("null", "true", "1.0", '"1"', "[1]", "{}")),
    *(f'{{"listen_port":{sign}1{"0" * 400}}}' for sign in ("", "-")),  # over any float
    *(f'{{"listen_port":1,"current_network_interface":{name}}}' for name in ("null", "0", "[]")),
    '{"listen_port":1,"current_interface_address":0}',
]


@pytest.mark.parametrize("body", NO_PREFERENCES)
def test_preferences_of_wrong_types_are_told(
    open_webui: WebUI, qbittorrent: QBittorrent, body: str
) -> None:
    open_webui.answers(READ, body)
    error = failure(qbittorrent)
    assert "answered preferences without a listen_port" in str(error)


@pytest.mark.parametrize("body", ["", "Ok.", "<html>", "[]"])
def test_preferences_that_are_no_json_are_told(
    open_webui: WebUI, qbittorrent: QBittorrent, body: str
) -> None:
    open_webui.answers(READ, body)
    error = failure(qbittorrent)
    assert "answered with something that is not a JSON object" in str(error)
    assert "QBITTORRENT_HOST and QBITTORRENT_PORT" in str(error)


@pytest.mark.parametrize("status", [301, 404, 429, 500])
def test_another_status_is_told(qbittorrent: QBittorrent, mocker: Mocker, status: int) -> None:
    mocker.get(URL + READ, status_code=status)
    error = failure(qbittorrent)
    assert f"answered {status};" in str(error)
    assert isinstance(error, ServiceError)
    assert error.kind is ErrorKind.HTTP_STATUS


@pytest.mark.parametrize(
    ("location", "leads"),
    [
        ("https://qbittorrent/api/v2/app/preferences", "QBITTORRENT_PORT=443, or check that"),
        ("https://qbittorrent:8443/", "QBITTORRENT_PORT=8443, or check that"),
        ("https://login.example/?rd=qbittorrent", None),
        ("http://qbittorrent/", None),
        ("https://qbittorrent:none/", None),
        ("/login", None),
    ],
)
def test_a_redirect_that_leads_to_https_names_its_port(
    qbittorrent: QBittorrent, mocker: Mocker, location: str, leads: str | None
) -> None:
    mocker.get(URL + READ, status_code=301, headers={"Location": location})
    told = str(failure(qbittorrent))
    assert ("set QBITTORRENT_HTTPS=true and" in told) is bool(leads)
    assert (leads or "answered 301; check that") in told


@pytest.mark.parametrize(
    ("status", "known"),
    [
        ("connected", ConnectionStatus.CONNECTED),
        ("firewalled", ConnectionStatus.FIREWALLED),
        ("disconnected", ConnectionStatus.DISCONNECTED),
        ("Connected", None),
        ("unknown", None),
        ("", None),
        (None, None),
        (1, None),
        ([], None),
        ({}, None),
    ],
)
def test_a_connection_status_is_one_of_three_or_none(
    open_webui: WebUI,
    qbittorrent: QBittorrent,
    status: object,
    known: ConnectionStatus | None,
) -> None:
    open_webui.answers(INFO, json.dumps({"connection_status": status}))
    assert qbittorrent.transfer_info().connection_status is known


@pytest.mark.parametrize("port", [1, 51218, 65535])
def test_a_port_is_set_with_what_a_forwarded_port_needs(
    open_webui: WebUI, qbittorrent: QBittorrent, port: int
) -> None:
    qbittorrent.set_listen_port(port)
    [form] = open_webui.forms(WRITE)
    assert list(form) == ["json"]
    assert json.loads(form["json"]) == {"listen_port": port, "random_port": False, "upnp": False}


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_what_is_no_port_is_never_set(
    open_webui: WebUI, qbittorrent: QBittorrent, port: int
) -> None:
    with pytest.raises(ValueError, match=f"{port} is not a port"):
        qbittorrent.set_listen_port(port)
    assert open_webui.calls == []


@pytest.mark.parametrize(("status", "body"), [(200, "whatever"), (201, "Ok."), (204, "")])
def test_any_2xx_is_a_port_set(
    qbittorrent: QBittorrent, mocker: Mocker, status: int, body: str
) -> None:
    mocked = mocker.post(URL + WRITE, status_code=status, text=body)
    qbittorrent.set_listen_port(51218)
    assert mocked.call_count == 1


def test_a_port_that_is_not_taken_is_told(qbittorrent: QBittorrent, mocker: Mocker) -> None:
    mocker.post(URL + WRITE, status_code=400)
    with pytest.raises(ServiceError, match="answered 400") as caught:
        qbittorrent.set_listen_port(51218)
    assert caught.value.kind is ErrorKind.HTTP_STATUS


@pytest.mark.parametrize(
    ("answer", "version"),
    [("v4.5.2", "4.5.2"), ("v5.3.0\n", "5.3.0"), ("v5.2.0beta1", "5.2.0beta1")],
)
def test_the_version_is_read(
    webui: WebUI, qbittorrent: QBittorrent, answer: str, version: str
) -> None:
    webui.answers(VERSION, answer)
    assert qbittorrent.version() == version


@pytest.mark.parametrize("answer", ["", "5.1.0", "<h1>Log in</h1>", "v" + "1" * 100, "v1 \x1b[2J"])
def test_what_is_no_version_is_told(webui: WebUI, qbittorrent: QBittorrent, answer: str) -> None:
    webui.answers(VERSION, answer)
    with pytest.raises(ServiceError, match="answered with no version") as caught:
        qbittorrent.version()
    assert caught.value.reason is Reason.QBITTORRENT_INVALID_RESPONSE


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"dht_nodes": 7}, TransferInfo(None, 7)),
        ({"dht_nodes": -1}, TransferInfo(None)),
        ({"dht_nodes": "7"}, TransferInfo(None)),
        (
            {"last_external_address_v4": "203.0.113.7", "last_external_address_v6": ""},
            TransferInfo(None, None, (ip_address("203.0.113.7"),)),
        ),
        (
            {"last_external_address_v4": 1, "last_external_address_v6": "2001:db8::1"},
            TransferInfo(None, None, (ip_address("2001:db8::1"),)),
        ),
    ],
)
def test_what_else_is_told_of_connections(
    open_webui: WebUI, qbittorrent: QBittorrent, answer: dict[str, object], told: TransferInfo
) -> None:
    open_webui.answers(INFO, json.dumps(answer))
    assert qbittorrent.transfer_info() == told


def test_interfaces_and_their_addresses_are_listed(
    qbittorrent: QBittorrent, mocker: Mocker
) -> None:
    interfaces = [{"name": "lo", "value": "lo"}, {"name": "x"}, 1, {"name": "VPN", "value": "tun0"}]
    mocker.get(URL + INTERFACES, json=interfaces)
    mocked = mocker.get(URL + ADDRESSES, json=["10.2.0.2", "fe80::1%4", "any", 1])
    assert qbittorrent.interfaces() == ("lo", "tun0")
    addresses = qbittorrent.interface_addresses("tun 0&")
    assert addresses
    assert list(map(str, addresses)) == ["10.2.0.2", "fe80::1"]
    assert mocked.request_history[0].query == "iface=tun%200%26"
    mocker.get(URL + ADDRESSES, text="what is that?")
    assert qbittorrent.interface_addresses("tun0") is None


# Its log


class Log:
    """Answers with those of its entries that come after the id that is asked for."""

    def __init__(self, mocker: Mocker) -> None:
        self.entries: list[dict[str, object]] = []
        self.asked: list[int] = []
        mocker.get(URL + LOG, text=self._answer)

    def add(self, message: str) -> None:
        """Log a success."""
        number = len(self.entries)
        self.entries.append({"id": number, "message": message, "timestamp": 1, "type": 2})

    def _answer(self, request: Request, _: Context) -> str:
        assert request.qs["normal"] == request.qs["warning"] == ["false"]
        assert request.qs["info"] == request.qs["critical"] == ["true"]
        after = int(request.qs["last_known_id"][0])
        self.asked.append(after)
        return json.dumps(self.entries[after + 1 :])


@pytest.fixture
def log(open_webui: WebUI, mocker: Mocker) -> Log:
    assert open_webui.bypass
    return Log(mocker)


def test_the_log_is_read_on_from_where_it_was_read_to(log: Log, qbittorrent: QBittorrent) -> None:
    for number in range(3):
        log.add(f'IP: "10.2.0.{number}". Port: "TCP/51218"')
    first = qbittorrent.listen_log(51218, None)
    assert first
    assert not first.continues
    assert [str(entry.address) for entry in first.entries] == ["10.2.0.0", "10.2.0.1", "10.2.0.2"]
    again = qbittorrent.listen_log(51218, first.mark)
    assert again
    assert again.continues
    assert (again.mark, again.entries) == (first.mark, ())
    log.add('IP: "10.2.0.9". Port: "TCP/51218"')
    more = qbittorrent.listen_log(51218, first.mark)
    assert more
    assert more.continues
    assert [str(entry.address) for entry in more.entries] == ["10.2.0.9"]
    assert log.asked == [-1, 1, 1]


@pytest.mark.parametrize("entries", [0, 1, 3, 5], ids=["none", "fewer", "as many", "more"])
def test_another_process_s_log_is_read_from_its_start(
    log: Log, qbittorrent: QBittorrent, entries: int
) -> None:
    for number in range(3):
        log.add(f'IP: "10.2.0.{number}". Port: "TCP/51218"')
    before = qbittorrent.listen_log(51218, None)
    assert before
    log.entries.clear()
    for number in range(entries):
        log.add(f'IP: "10.3.0.{number}". Port: "TCP/51218"')
    after = qbittorrent.listen_log(51218, before.mark)
    assert after
    assert not after.continues
    assert len(after.entries) == entries
    assert log.asked == [-1, 1, -1]


@pytest.mark.parametrize(
    "answer",
    [
        {"text": "[" + " " * 4 * 1024 * 1024 + "]"},
        {"text": "{}"},
        {"text": "<h1>Log in</h1>"},
        {"text": '[{"id":1,"message":"'},
        {"text": "[{}]"},
        {"status_code": 500},
    ],
    ids=["too long", "object", "page", "cut", "no id", "status"],
)
def test_a_log_that_cannot_be_read_is_unknown(
    open_webui: WebUI, qbittorrent: QBittorrent, mocker: Mocker, answer: dict[str, Any]
) -> None:
    assert open_webui.bypass
    mocker.get(URL + LOG, **answer)
    assert qbittorrent.listen_log(51218, None) is None
    assert qbittorrent.listen_log(51218, LogMark(1, 1)) is None


def test_a_log_that_nobody_answers_for_is_an_error(webui: WebUI, qbittorrent: QBittorrent) -> None:
    webui.gone = True
    with pytest.raises(ServiceError) as caught:
        qbittorrent.listen_log(51218, None)
    assert caught.value.reason is Reason.QBITTORRENT_UNREACHABLE
