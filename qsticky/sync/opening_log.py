"""What qBittorrent logged of opening its listening sockets, for each address and protocol.

It logs success as well as failure, in the order in which they happen, and of opening only: what it
gives up it doesn't log (4.5.2, 5.1.0 and 5.3.0 alike). So only a success ages.
"""

from collections.abc import Collection

from qsticky.services.listen_log import ListenEntry, ListenLog, LogMark
from qsticky.services.qbittorrent import Address, Protocol


class OpeningLog:
    """Remembers the last entry for each address and protocol of one listening port."""

    def __init__(self) -> None:
        self.mark: LogMark | None = None  # where reading goes on
        self._last: dict[tuple[Address, str], ListenEntry] = {}

    def take(self, log: ListenLog | None) -> None:
        """Take in what was read after the mark; None is a log that can't be read."""
        if log is None or not log.continues:  # all of it, or another process's
            self._last = {}
        self.mark = log.mark if log else None
        for entry in log.entries if log else ():
            self._last[entry.address, entry.protocol] = entry

    def forget(self) -> None:
        """Drop what was logged of sockets that are about to be opened anew."""
        self._last = {}

    def age(self) -> None:
        """Note that the VPN was away, or the binding is another one: success says nothing now."""
        self._last = {key: entry for key, entry in self._last.items() if not entry.listening}

    def listening(self, addresses: Collection[Address], protocol: Protocol) -> bool | None:
        """Whether it listens on one of these addresses, by its last entries; None is unknown.

        A failure of either protocol is a no: a UDP port that is taken takes the address's TCP
        socket with it, and only the UDP one is logged.
        """
        answers = {self._answer(address, protocol) for address in addresses}
        return next((answer for answer in (True, False) if answer in answers), None)

    def failure(self, addresses: Collection[Address]) -> str | None:
        """Return its message about an address that it could not listen on, if there is one."""
        failures = (entry for address in addresses for entry in self._failures(address))
        return next((entry.message for entry in failures), None)

    def without_udp(self, addresses: Collection[Address]) -> bool:
        """Whether it opened TCP sockets for peers, and no UDP ones, which uTP and DHT need."""
        mine = [entry for entry in self._last.values() if entry.address in addresses]
        return bool(mine) and all(one.protocol == "TCP" and one.listening for one in mine)

    def _answer(self, address: Address, protocol: Protocol) -> bool | None:
        if self._failures(address):
            return False
        decisive = "UTP" if protocol is Protocol.UTP else "TCP"
        return True if (address, decisive) in self._last else None

    def _failures(self, address: Address) -> list[ListenEntry]:
        return [
            entry
            for entry in self._last.values()
            if not entry.listening and (entry.address == address or entry.address.is_unspecified)
        ]
