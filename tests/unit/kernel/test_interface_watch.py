"""A watch of an interface, as far as that can be seen without a namespace of one's own."""

import threading
import time

import pytest

from qsticky.kernel import messages
from qsticky.kernel.interface_watch import InterfaceWatch
from tests.unit.kernel.test_netlink import descriptors, refuse


def test_a_watch_stops_at_once_and_leaves_nothing_behind() -> None:
    before, threads = descriptors(), threading.active_count()
    watch = InterfaceWatch("absent0", lambda: None)
    for _ in range(3):
        watch.start()
        assert threading.active_count() == threads + 1
        began = time.monotonic()
        watch.stop()
        watch.stop()  # twice does no harm
        assert time.monotonic() - began < 0.5
        assert threading.active_count() == threads
    assert descriptors() == before


def test_where_netlink_is_refused_a_watch_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "open_socket", refuse)
    with pytest.raises(PermissionError):
        InterfaceWatch("lo", lambda: None).start()
