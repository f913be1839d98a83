"""Reads the forwarded ports from Gluetun's port file."""

import os
import re
import stat
from pathlib import Path

from qsticky.files import open_at_once, settled

_LARGEST = 64 * 1024  # bytes

_PORT = re.compile(rb"[1-9][0-9]{0,4}")


class PortFile:
    """The port file at a path: one port a line (*source* of Gluetun), missing or empty for none.

    Gluetun empties it and writes it in place, so that half a port can be in it: what counts is what
    it has once it is at rest.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = b""

    def ports(self) -> tuple[int, ...]:
        """Read its ports; none where it has anything else in it."""
        self._known = settled(self._read, self._known)
        lines = [line.strip() for line in self._known.splitlines() if line.strip()]
        ports = tuple(int(line) for line in lines if _PORT.fullmatch(line))
        whole = len(ports) == len(lines) and max(ports, default=0) <= 65535
        return ports if whole else ()

    def _read(self) -> bytes:
        """Read it whole; nothing where it can't be, or is no file, as a FIFO or a folder."""
        try:
            with open_at_once(self._path) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    return b""
                content = file.read(_LARGEST + 1) or b""  # None of /proc/kmsg, which can wait
        except OSError:
            return b""
        return content if len(content) <= _LARGEST else b""
