"""What a look at a port's sockets costs, in the process that looks, beside very many of them."""

from __future__ import annotations

import resource
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from qsticky.kernel import netlink
from tools.bench.figures import Figure
from tools.bench.stage import Plan

OTHERS = 10_000
CAME_IN = 5_000
LOOKS = 20  # a round


def looks(plan: Plan) -> Iterator[Figure]:
    """Measure a look at one port alone, beside sockets on others, and when many came in by it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with socket.create_server(("127.0.0.1", 0)) as alone:
        port = alone.getsockname()[1]
        yield Figure("look at a port with nobody", "ms", _took(plan, port, 0))
        with _connections(OTHERS // 2):  # two sockets each
            name = f"look beside {OTHERS:,} sockets on other ports"
            yield Figure(name, "ms", _took(plan, port, 0))
    with _connections(CAME_IN) as busy:
        yield Figure(f"look at {CAME_IN:,} that came in", "ms", _took(plan, busy, CAME_IN), most=35)


def _took(plan: Plan, port: int, expected: int) -> list[float]:
    """Return the milliseconds of CPU time of each look, which waits for nothing."""
    took = []
    for _ in range(plan.rounds * LOOKS):
        began = time.thread_time()
        found = netlink.sockets(port)
        took.append((time.thread_time() - began) * 1000)
        assert (len(found.listeners), len(found.connections)) == (1, expected)
    return took


@contextmanager
def _connections(count: int) -> Iterator[int]:
    """Hold so many, both ends of each in this process; gives the port that they came in by."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        for _ in range(count):
            peer = stack.enter_context(socket.create_connection(server.getsockname()))
            # Reset in the end, or they would stay in TIME_WAIT beside what is measured next.
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
            stack.enter_context(server.accept()[0])
        yield server.getsockname()[1]
