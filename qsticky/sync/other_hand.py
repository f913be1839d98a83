"""Notices another program that sets qBittorrent's listening port."""

from collections import deque

_SYNCS_IN_A_ROW = 3
_TIMES, _WITHIN = 5, 600.0


class OtherHand:
    """Notices another program that sets the port: it was right, and is another one again.

    Three syncs in a row, or five times in ten minutes, while the forwarded port stayed.
    """

    def __init__(self) -> None:
        self._verified: int | None = None
        self._changed_to: int | None = None
        self._in_a_row = 0
        self._moments: deque[float] = deque(maxlen=_TIMES)

    def note(self, found: int, wanted: int, now: float) -> None:
        """Note which port a sync found, before it set the wanted one."""
        if found == wanted:
            self._in_a_row, self._verified = 0, wanted
        elif wanted == self._verified:
            self._in_a_row += 1
            self._moments.append(now)
            self._changed_to = found
        else:
            self._in_a_row = 0

    def note_verified(self, port: int) -> None:
        """Note that a change to this port was read back."""
        if port != self._verified:
            self._moments.clear()
        self._verified = port

    def warning(self, now: float) -> str | None:
        """Name it, if there is one."""
        often = len(self._moments) == _TIMES and now - self._moments[0] <= _WITHIN
        if self._in_a_row < _SYNCS_IN_A_ROW and not often:
            return None
        return (
            f"Another program sets qBittorrent's listening port: it was {self._changed_to} again "
            f"after qSticky had set {self._verified}; look for another tool that sets it, for "
            "Gluetun's up or down command, and for a second qSticky, and leave it to one"
        )
