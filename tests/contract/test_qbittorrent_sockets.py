"""Which sockets a real qBittorrent opens; the simulator opens none."""

from __future__ import annotations

import json
import socket

import pytest

from tests.contract.targets import Client, Start, Subject, every_real_one
from tests.real import free_port, wait_until

CRITICAL_ONLY = {"normal": "false", "info": "false", "warning": "false"}


def change(client: Client, **preferences: object) -> None:
    assert client.post("app/setPreferences", {"json": json.dumps(preferences)}).status_code == 200


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionRefusedError:
        return False
    return True


@every_real_one
def test_a_new_port_is_listened_on_and_the_old_one_no_more(qbittorrent: Subject) -> None:
    client, old, new = qbittorrent.logged_in(), free_port(), free_port()
    change(client, listen_port=old)
    wait_until(lambda: listens(old), 5, "the port to be listened on")
    change(client, listen_port=new)
    wait_until(lambda: listens(new) and not listens(old), 5, "the new port instead of the old one")


@every_real_one
@pytest.mark.parametrize("port", [65536, -1])
def test_a_port_out_of_range_closes_the_sockets(qbittorrent: Subject, port: int) -> None:
    client, old = qbittorrent.logged_in(), free_port()
    change(client, listen_port=old)
    wait_until(lambda: listens(old), 5, "the port to be listened on")
    change(client, listen_port=port)
    wait_until(lambda: not listens(old), 5, "the sockets to be closed")


@every_real_one
def test_an_interface_that_does_not_exist_leaves_no_socket(start: Start) -> None:
    client, port = start().logged_in(), free_port()
    change(client, listen_port=port)
    wait_until(lambda: listens(port), 5, "the port to be listened on")
    change(client, current_network_interface="missing0")
    wait_until(lambda: not listens(port), 5, "the sockets to be closed")


@every_real_one
def test_a_busy_port_is_not_retried_until_the_sockets_are_opened_again(start: Start) -> None:
    client = start().logged_in()
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        change(client, listen_port=port)
        wait_until(
            lambda: f"TCP/{port}" in client.get("log/main", params=CRITICAL_ONLY).text,
            5,
            "qBittorrent to find the port taken",
        )
    wait_until(lambda: not listens(port), 5, "the other program's socket to be gone")
    change(client, listen_port=port)  # the same port again: nothing happens
    with pytest.raises(AssertionError, match="in vain"):
        wait_until(lambda: listens(port), 0.5, "qBittorrent to listen on its own")
    change(client, listen_port=port - 1)
    change(client, listen_port=port)
    wait_until(lambda: listens(port), 5, "the port to be listened on")
