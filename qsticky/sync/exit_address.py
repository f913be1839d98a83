"""The VPN's public address, as Gluetun tells it: when to ask, and whether it is another one."""

from ipaddress import ip_address
from typing import NamedTuple

from qsticky.services.gluetun import PublicAddress
from qsticky.services.qbittorrent import Address

_ASK_EVERY = 600.0


class ExitAddress(NamedTuple):
    """The last address that was told, and what was so when it was asked for.

    `changed` tells that the last answer was another address than the one before. Moments are
    monotonic seconds; `asked_with` is the interface and the port of then.
    """

    last: PublicAddress | None = None
    changed: bool = False
    asked_at: float | None = None
    asked_with: object = None

    def due(self, circumstances: object, now: float, *, blind: bool) -> bool:
        """Whether to ask: at each sync where the VPN's interface can't be seen (`blind`).

        There a changed address is evidence that the VPN was away; elsewhere it is asked for when
        interface or port changed, and every ten minutes.
        """
        unchanged = self.asked_at is not None and circumstances == self.asked_with
        return blind or not unchanged or now - (self.asked_at or 0.0) >= _ASK_EVERY

    def after(self, told: PublicAddress | None, circumstances: object, now: float) -> "ExitAddress":
        """Return what is known after an answer; None is none."""
        changed = bool(told and self.last and told.address != self.last.address)
        return ExitAddress(told or self.last, changed, now, circumstances)

    def not_asked(self) -> "ExitAddress":
        """Return what is known after a sync in which it was not asked for."""
        return self._replace(changed=False)

    def seen_by_peers(self, external: tuple[Address, ...]) -> str | None:
        """Pick the address at which peers see qBittorrent that can be laid beside this one."""
        version = ip_address(self.last.address).version if self.last else None
        found = (str(one) for one in external if version in (None, one.version))
        return next(found, None)
