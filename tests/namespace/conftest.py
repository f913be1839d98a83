"""A namespace for each test, and a VPN in it that is not up yet."""

from collections.abc import Iterator

import pytest

from qsticky.kernel import messages
from tests.namespace.netns import Namespace, Vpn
from tests.namespace.peer import Peer


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """Make a network namespace of the test's own."""
    with Namespace() as made:
        yield made


@pytest.fixture
def vpn(namespace: Namespace) -> Iterator[Vpn]:
    """Make `tun0`, when the test says so."""
    with Vpn(namespace) as made:
        yield made


@pytest.fixture
def peer(namespace: Namespace) -> Iterator[Peer]:
    """Join a peer's namespace to ours, by a veth that is called tun0 here."""
    with Peer(namespace) as made:
        made.up()
        yield made


@pytest.fixture
def inside(namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> Namespace:
    """Let the netlink and HTTP calls of the test's own process go to the namespace."""
    monkeypatch.setattr(messages, "socket", namespace.socket_module())
    monkeypatch.setattr("qsticky.services.line.socket", namespace.socket_module())
    monkeypatch.setattr("urllib3.util.connection.create_connection", namespace.create_connection)
    return namespace
