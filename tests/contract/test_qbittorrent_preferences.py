"""What qBittorrent does with its preferences, its listening port above all."""

from __future__ import annotations

import json
import socket

import pytest

from tests.contract.targets import Client, Start, Subject, every_release
from tests.real import free_port, wait_until


def change(client: Client, **preferences: object) -> None:
    """Set preferences; qBittorrent's answer is always the same."""
    response = client.post("app/setPreferences", {"json": json.dumps(preferences)})
    assert (response.status_code, response.content) == (200, b"")


def listening_port(client: Client) -> tuple[object, object]:
    preferences = client.get("app/preferences").json()
    return preferences["listen_port"], preferences["random_port"]


def entries(client: Client, *, after: int = -1, **severities: object) -> list[dict[str, object]]:
    wanted = {"last_known_id": after, **severities}
    found = client.get("log/main", params=wanted).json()
    assert isinstance(found, list)
    return found


def criticals(client: Client, *, after: int = -1) -> list[dict[str, object]]:
    others = {"normal": "false", "info": "false", "warning": "false"}
    return entries(client, after=after, **others, critical="true")


def last_id(client: Client) -> int:
    return max((int(str(entry["id"])) for entry in entries(client)), default=-1)


def times_opened(client: Client, port: int, *, after: int) -> int:
    """How often it opened its sockets on the port, by its log."""
    wanted = [str(entry["message"]) for entry in entries(client, after=after)]
    return sum(text.startswith("Trying to listen") and f":{port}" in text for text in wanted)


@every_release
def test_almost_anything_is_answered_200_without_a_body(qbittorrent: Subject) -> None:
    client = qbittorrent.logged_in()
    for document in ('{"nonsense": 1}', "[1]", "no JSON", ""):
        response = client.post("app/setPreferences", {"json": document})
        assert (response.status_code, response.content) == (200, b""), document


@every_release
def test_preferences_are_json(qbittorrent: Subject) -> None:
    response = qbittorrent.logged_in().get("app/preferences")
    assert response.headers["Content-Type"] == "application/json"
    for name in ("listen_port", "random_port", "upnp", "current_network_interface"):
        assert name in response.json()


@every_release
def test_a_new_port_shows_at_once(qbittorrent: Subject) -> None:
    client, port = qbittorrent.logged_in(), free_port()
    change(client, listen_port=port, random_port=False, upnp=False)
    assert listening_port(client) == (port, False)


@every_release
def test_a_new_port_is_on_disk_before_the_response(start: Start) -> None:
    qbittorrent = start()
    port = free_port()
    change(qbittorrent.logged_in(), listen_port=port)
    qbittorrent.kill_and_start()
    assert listening_port(qbittorrent.logged_in()) == (port, False)


@every_release
@pytest.mark.parametrize("port", [65536, -1])
def test_a_port_out_of_range_is_stored_and_leaves_no_socket(
    qbittorrent: Subject, port: int
) -> None:
    client = qbittorrent.logged_in()
    change(client, listen_port=port)
    assert listening_port(client) == (port, False)
    wait_until(
        lambda: client.get("transfer/info").json()["connection_status"] == "disconnected",
        5,
        "the status to be disconnected",
    )


@every_release
def test_port_0_is_a_random_port_and_nothing_else_is(qbittorrent: Subject) -> None:
    client = qbittorrent.logged_in()
    change(client, listen_port=0)
    assert listening_port(client) == (0, True)
    change(client, listen_port=free_port())
    assert listening_port(client)[1] is False
    change(client, random_port=True)
    assert listening_port(client) == (0, True)


@every_release
def test_turning_the_random_port_off_needs_a_port(qbittorrent: Subject) -> None:
    client, port = qbittorrent.logged_in(), free_port()
    change(client, random_port=True, listen_port=port)
    assert listening_port(client) == (0, True)
    change(client, random_port=False)
    assert listening_port(client) == (0, True)
    change(client, random_port=False, listen_port=port)
    assert listening_port(client) == (port, False)


@every_release
def test_the_same_port_again_does_nothing(qbittorrent: Subject) -> None:
    client, port = qbittorrent.logged_in(), free_port()
    change(client, listen_port=port)
    wait_until(lambda: times_opened(client, port, after=-1), 5, "the port to be opened")
    before = last_id(client)
    change(client, listen_port=port)
    change(client, listen_port=port + 1)
    wait_until(lambda: times_opened(client, port + 1, after=before), 5, "the other port")
    assert times_opened(client, port, after=before) == 0


@every_release
def test_another_port_and_back_opens_the_sockets_again(qbittorrent: Subject) -> None:
    client, port = qbittorrent.logged_in(), free_port()
    change(client, listen_port=port)
    wait_until(lambda: times_opened(client, port, after=-1), 5, "the port to be opened")
    before = last_id(client)
    change(client, listen_port=port - 1)
    change(client, listen_port=port)
    assert listening_port(client) == (port, False)
    wait_until(lambda: times_opened(client, port, after=before), 5, "the port to be opened again")


@every_release
def test_a_busy_port_shows_as_set_with_a_critical_entry_for_its_address(start: Start) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        client = start(busy=(port, "127.0.0.1")).logged_in()
        before = last_id(client)
        change(client, listen_port=port)
        assert listening_port(client) == (port, False)

        def told() -> bool:
            messages = [str(entry["message"]) for entry in criticals(client, after=before)]
            return any("127.0.0.1" in text and f"TCP/{port}" in text for text in messages)

        wait_until(told, 5, "a critical log entry that names the address and the port")


@every_release
def test_a_good_port_leaves_no_critical_entry(qbittorrent: Subject) -> None:
    client, port = qbittorrent.logged_in(), free_port()
    before = last_id(client)
    change(client, listen_port=port)
    wait_until(lambda: times_opened(client, port, after=before), 5, "the port to be opened")
    assert criticals(client, after=before) == []


@every_release
def test_the_log_gives_only_what_came_after_the_known_id(qbittorrent: Subject) -> None:
    client = qbittorrent.logged_in()
    change(client, listen_port=65536)
    wait_until(lambda: criticals(client), 5, "a critical log entry")
    before = last_id(client)
    assert criticals(client, after=before) == []
    change(client, listen_port=-1)
    wait_until(lambda: criticals(client, after=before), 5, "another critical log entry")
    assert all(int(str(entry["id"])) > before for entry in criticals(client, after=before))


@every_release
def test_the_log_is_filtered_by_severity(qbittorrent: Subject) -> None:
    client = qbittorrent.logged_in()
    change(client, listen_port=free_port())
    change(client, listen_port=65536)
    wait_until(lambda: criticals(client), 5, "a critical log entry")
    assert {entry["type"] for entry in criticals(client)} == {8}
    assert {1, 8} <= {entry["type"] for entry in entries(client)}


@every_release
def test_it_is_firewalled_while_it_listens_and_nothing_came_in(qbittorrent: Subject) -> None:
    client = qbittorrent.logged_in()
    change(client, listen_port=free_port())
    wait_until(
        lambda: client.get("transfer/info").json()["connection_status"] == "firewalled",
        5,
        "the status to be firewalled",
    )


@every_release
def test_versions_are_plain_text(qbittorrent: Subject) -> None:
    client = qbittorrent.logged_in()
    major, minor = qbittorrent.version
    assert client.get("app/version").text.startswith(f"v{major}.{minor}.")
    assert all(part.isdigit() for part in client.get("app/webapiVersion").text.split("."))
