"""Which port is forwarded, from where that is known, and since when there is none."""

from typing import NamedTuple

from qsticky.errors import Reason, SyncError
from qsticky.services.gluetun import Gluetun, no_port_at
from qsticky.sync.report import PortSource


class Ports(NamedTuple):
    """One reading of all forwarded ports; `source` is None where nobody could tell.

    `error` is why the control server didn't answer, also where the port file did.
    """

    numbers: tuple[int, ...] = ()
    source: PortSource | None = None
    error: SyncError | None = None


def read_ports(gluetun: Gluetun | None, fixed: int | None) -> Ports:
    """Read the forwarded ports: the fixed one, the control server's, or else the port file's."""
    if gluetun is None:
        return Ports((fixed,) if fixed else (), PortSource.FIXED)
    try:
        return Ports(gluetun.forwarded_ports(), PortSource.CONTROL_SERVER)
    except SyncError as error:
        numbers = gluetun.ports_in_file()
        return Ports(numbers, PortSource.PORT_FILE if numbers else None, error.to_keep())


class ForwardedPort(NamedTuple):
    """The port at `position` (from 1) as of the last reading; moments are monotonic seconds.

    `last` is the last one that was told, 0 for none. `lost` and `restored` tell that the reading
    was the first without a port, or with one again; `unreachable_since` is the moment since which
    the control server can't be reached.
    """

    position: int
    ports: Ports = Ports()
    last: int | None = None
    lost: bool = False
    restored: bool = False
    missing_since: float | None = None
    unreachable_since: float | None = None
    was_lost: bool = False

    @property
    def number(self) -> int | None:
        """The port; 0 where there is none, None where nobody could tell."""
        return self.last if self.ports.source else None

    @property
    def failure(self) -> SyncError | None:
        """Why there is no port to be had, other than that Gluetun has none yet."""
        if self.ports.source is None:
            return self.ports.error
        count = len(self.ports.numbers)
        return no_port_at(self.position, count) if 0 < count < self.position else None

    def after(self, ports: Ports, now: float) -> "ForwardedPort":
        """Return what is known after another reading."""
        away = ports.error is not None and ports.error.reason is Reason.GLUETUN_UNREACHABLE
        since = _since(self.unreachable_since, away, now)
        known = self._replace(ports=ports, unreachable_since=since, lost=False, restored=False)
        if ports.source is None:
            return known
        number = dict(enumerate(ports.numbers, start=1)).get(self.position, 0)
        was_lost = not number and (self.was_lost or bool(self.last))
        return known._replace(
            last=number,
            lost=was_lost and not self.was_lost,
            restored=self.was_lost and not was_lost,
            missing_since=_since(self.missing_since, not number, now),
            was_lost=was_lost,
        )


def none_for_long(grace: float) -> SyncError:
    """Make the error of a Gluetun that has had no forwarded port for so many seconds."""
    return SyncError(
        Reason.NO_FORWARDED_PORT,
        f"Gluetun has had no forwarded port for {grace:g} s or longer; set "
        "VPN_PORT_FORWARDING=on for Gluetun, and with Proton VPN a WireGuard key that was made "
        "with NAT-PMP on, or an OpenVPN user that ends in +pmp; look at Gluetun's log, and try "
        "another server; with a provider that gives a port for good, such as AirVPN, leave "
        "VPN_PORT_FORWARDING off, since Gluetun would not start with it, and set "
        "FORWARDED_PORT for qSticky instead",
    )


def _since(before: float | None, so: bool, now: float) -> float | None:
    """Tell since when it is so, by since when it was before."""
    return (now if before is None else before) if so else None
