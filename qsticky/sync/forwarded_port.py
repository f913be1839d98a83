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
        error, unreachable = ports.error, self.unreachable_since
        if error is None or error.reason is not Reason.GLUETUN_UNREACHABLE:
            unreachable = None
        elif unreachable is None:
            unreachable = now
        number, missing, was_lost = self.last, self.missing_since, self.was_lost
        if ports.source:
            number = dict(enumerate(ports.numbers, start=1)).get(self.position, 0)
            missing = None if number else now if missing is None else missing
            was_lost = not number and (was_lost or bool(self.last))
        return ForwardedPort(
            self.position,
            ports,
            number,
            lost=was_lost and not self.was_lost,
            restored=self.was_lost and not was_lost,
            missing_since=missing,
            unreachable_since=unreachable,
            was_lost=was_lost,
        )
