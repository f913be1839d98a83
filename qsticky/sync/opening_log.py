"""What qBittorrent logged of opening its listening sockets, for each address and protocol.

It logs success as well as failure, in the order in which they happen, and of opening only: what it
gives up it doesn't log (4.5.2, 5.1.0 and 5.3.0 alike). So only a success ages.
"""

from collections.abc import Collection
from typing import NamedTuple

from qsticky.services.listen_log import ListenEntry, ListenLog, LogMark
from qsticky.services.qbittorrent import Address, Protocol


class _Logged(NamedTuple):
    entry: ListenEntry
    aged: bool = False


class OpeningLog:
    """Remembers the last entry for each address and protocol of one listening port."""

    def __init__(self) -> None:
        self._mark: LogMark | None = None
        self._logged: dict[tuple[Address, str], _Logged] = {}

    @property
    def mark(self) -> LogMark | None:
        """Where reading goes on."""
        return self._mark

    def take(self, log: ListenLog | None) -> None:
        """Take in what was read after the mark; None is a log that can't be read."""
        if log is None or not log.continues:  # all of it, or another process's
            self._logged = {}
        self._mark = log.mark if log else None
        for entry in log.entries if log else ():
            self._logged[entry.address, entry.protocol] = _Logged(entry)

    def forget(self) -> None:
        """Drop what was logged of sockets that are about to be opened anew."""
        self._logged = {}

    def age(self) -> None:
        """Note that the VPN was away, or the binding is another one: success says nothing now."""
        self._logged = {
            key: _Logged(logged.entry, aged=True) for key, logged in self._logged.items()
        }

    def listening(self, addresses: Collection[Address], protocol: Protocol) -> bool | None:
        """Whether it listens on one of these addresses, by its last entries; None is unknown.

        A failure of either protocol is a no: a UDP port that is taken takes the address's TCP
        socket with it, and only the UDP one is logged.
        """
        answers = [self._answer(address, protocol) for address in addresses]
        if True in answers:
            return True
        return False if False in answers else None

    def failure(self, addresses: Collection[Address]) -> str | None:
        """Return its message about an address that it could not listen on, if there is one."""
        for (address, _), logged in self._logged.items():
            if not logged.entry.listening and (address in addresses or address.is_unspecified):
                return logged.entry.message
        return None

    def without_udp(self, addresses: Collection[Address]) -> bool:
        """Whether it opened TCP sockets for peers, and no UDP ones, which uTP and DHT need."""
        mine = [log.entry for (at, _), log in self._logged.items() if at in addresses]
        return bool(mine) and all(one.protocol == "TCP" and one.listening for one in mine)

    def _answer(self, address: Address, protocol: Protocol) -> bool | None:
        mine = [log for (at, _), log in self._logged.items() if at == address or at.is_unspecified]
        if any(not logged.entry.listening for logged in mine):
            return False
        decisive = self._logged.get((address, "UTP" if protocol is Protocol.UTP else "TCP"))
        return True if decisive and not decisive.aged else None
