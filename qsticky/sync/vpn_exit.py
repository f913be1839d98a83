"""Where the VPN comes out, and which Gluetun tells it: when to ask, and whether it is new."""

from ipaddress import ip_address

from qsticky.services.gluetun import Gluetun, PublicAddress
from qsticky.services.qbittorrent import Address

_ASK_EVERY = 600.0


class VpnExit:
    """Remembers what Gluetun told beside its ports.

    `address` is the last public address that was told, and `changed` tells that this sync was told
    another one than before. `version` is that of the Gluetun that was there last.
    """

    def __init__(self) -> None:
        self.address: PublicAddress | None = None
        self.changed = False
        self.version: str | None = None
        self._asked_at: float | None = None
        self._asked_with: object = None

    def ask(self, gluetun: Gluetun, circumstances: object, now: float, *, blind: bool) -> None:
        """Ask for the address: at each sync where the VPN's interface can't be seen (`blind`).

        There a changed one is evidence that the VPN was away; elsewhere it is asked for when these
        circumstances changed, every ten minutes (`now` is in monotonic seconds), and of another
        Gluetun, as its version is.
        """
        self.changed = False
        if self._asked_at is None:
            self.version = gluetun.version()
        elif not blind and circumstances == self._asked_with and now - self._asked_at < _ASK_EVERY:
            return
        self._asked_at, self._asked_with = now, circumstances
        if told := gluetun.public_address():
            self.changed = self.address is not None and told.address != self.address.address
            self.address = told

    def note_away(self) -> None:
        """Note that Gluetun doesn't answer: it may be another one that is back."""
        self.changed, self._asked_at = False, None

    def seen_by_peers(self, external: tuple[Address, ...]) -> str | None:
        """Pick the address at which peers see qBittorrent that can be laid beside this one."""
        version = ip_address(self.address.address).version if self.address else None
        found = (str(one) for one in external if version in (None, one.version))
        return next(found, None)
