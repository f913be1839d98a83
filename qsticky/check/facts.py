"""What one check has learnt so far, section by section."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from qsticky.check.place import Place
from qsticky.clock import Clock
from qsticky.config import Config
from qsticky.services.qbittorrent import Preferences
from qsticky.sync.vpn_interface import Kernel

_T = TypeVar("_T")


@dataclass
class Facts:
    """What the check was given, and what its sections learnt for the later ones.

    Each of the latter is set by one section: by qSticky's `document`, which the running daemon
    writes (None where none runs), `left_behind` by one that died, and `daemon_is_known`; by
    Gluetun's the `ports` (None where they can't be had) and the `forwarded_port` among them; and
    the `preferences` by qBittorrent's.
    """

    config: Config
    clock: Clock
    kernel: Kernel
    place: Place
    document: dict[str, Any] | None = None
    left_behind: dict[str, Any] | None = None
    daemon_is_known: bool = False
    ports: tuple[int, ...] | None = None
    forwarded_port: int | None = None
    preferences: Preferences | None = None

    def look_twice(self, pause: float, look: Callable[[], _T], wrong: Callable[[_T], bool]) -> _T:
        """Look, and where it is wrong once more, `pause` seconds later: it may be for a moment."""
        seen = look()
        if wrong(seen):
            self.clock.wait(threading.Event(), pause)
            seen = look()
        return seen
