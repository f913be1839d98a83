"""Wiring and lifecycle of the daemon: what knows what, start, signals and stop."""

import math
import threading
from functools import partial
from typing import TYPE_CHECKING, Protocol

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from qsticky import hints, signals
from qsticky.clock import SystemClock
from qsticky.config import Config, is_loopback
from qsticky.kernel import netlink
from qsticky.kernel.interface_watch import InterfaceWatch
from qsticky.record import logs
from qsticky.record.events import Event, RecentEvents
from qsticky.record.health import Health
from qsticky.record.journal import Journal
from qsticky.record.metrics import Metrics
from qsticky.record.start import start_line
from qsticky.services.factory import make_gluetun, make_qbittorrent, make_vpn_control
from qsticky.services.http import Exchange
from qsticky.services.login_limit import LoginLimit
from qsticky.services.outside_service import OutsideService
from qsticky.services.port_check import PortCheck
from qsticky.sync.options import Options
from qsticky.sync.report import SyncReport, Trigger
from qsticky.sync.synchronizer import Synchronizer
from qsticky.sync.vpn_interface import Kernel
from qsticky.sync.vpn_restart import VpnRestart
from qsticky.sync.worker import Worker
from qsticky.web.certificate import Certificate
from qsticky.web.routes import Routes
from qsticky.web.server import Server

if TYPE_CHECKING:  # 16 MiB that most do without
    from qsticky.record.delivery import Delivery
    from qsticky.record.notify import Notifier

_TIME_TO_STOP = 0.5


class _Watch(Protocol):
    def start(self) -> None: ...
    def stop(self) -> None: ...


class Daemon:
    """The daemon of one configuration: made and run once, in a process's main thread.

    `revision` is the commit that it was built of, where that is known; `kernel` is what is asked
    about interfaces and sockets: a demonstration hands in its own.
    """

    def __init__(self, config: Config, *, revision: str = "", kernel: Kernel = netlink) -> None:
        self._config = config
        self._clock = SystemClock()
        stopping = threading.Event()
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._metrics = Metrics(
            registry,
            check_interval=config.check_interval,
            revision=revision or "unknown",
            clock=self._clock,
            gluetun=config.forwarded_port is None,
        )
        recent_events = RecentEvents()
        logger = logs.set_up(
            config.log_format,
            config.log_level,
            logs.stdout(),
            recent_events,
            count=self._metrics.log_line_written,
            dropped=self._metrics.log_line_dropped,
        )
        self._journal = Journal(logger, self._clock)
        self._health = Health(
            config.health_file,
            check_interval=config.check_interval,
            request_timeout=config.request_timeout,
            clock=self._clock,
        )
        self._port_check = self._make_port_check()
        self._vpn_restart = self._make_vpn_restart()
        self._delivery: Delivery | None = None
        self._notifier: Notifier | None = None
        if config.notify_urls:
            self._delivery, self._notifier = self._make_notifications()
        self._synchronizer = Synchronizer(
            None if config.forwarded_port else make_gluetun(config, self._observe),
            make_qbittorrent(config, self._observe, LoginLimit(self._clock), self._stay_fresh),
            _options(config),
            kernel=kernel,
            clock=self._clock,
            stopping=stopping,
            port_check=self._port_check,
            vpn_restart=self._vpn_restart,
        )
        self._worker = Worker(
            self._synchronizer.sync,
            self._record,
            check_interval=config.check_interval,
            clock=self._clock,
            stopping=stopping,
        )
        self._worker_ended = threading.Event()
        self._routes = Routes(
            registry,
            self._health,
            recent_events,
            self._clock,
            self._request_sync,
            config.metrics_credentials,
        )

    def run(self) -> int:
        """Run until SIGTERM or SIGINT, and return the exit code.

        0 after a signal; 1 when it can't run: the port is taken, or the worker died.
        """
        signals.block()
        signals.reap_orphans()
        threading.excepthook = self._journal.thread_died
        self._announce()
        server = self._serve()
        if server is None:
            return 1
        self._health.remove_leftovers()
        self._wrote_health_file(self._health.write())
        watches = self._start_watches()
        for part in (self._port_check, self._vpn_restart, self._delivery):
            if part:
                part.start()
        worker = threading.Thread(target=self._work, name="worker", daemon=True)
        worker.start()
        received = signals.wait()
        died = self._worker_ended.is_set()
        self._worker.stop()
        worker.join(_TIME_TO_STOP)  # a request that hangs is left behind
        if self._vpn_restart:
            self._vpn_restart.stop()
        for watch in watches:
            watch.stop()
        server.close()
        self._health.remove()
        reason = "the worker died" if died else f"received {received}"
        self._journal.info(f"Stopped: {reason}", Event.SHUTDOWN)
        return 1 if died else 0

    def _announce(self) -> None:
        """Tell what starts, and what of its configuration is worth a sentence."""
        config, journal = self._config, self._journal
        started, fields = start_line(config)
        journal.info(started, Event.STARTUP, **fields)
        for warning in [*hints.misnamed(config), *hints.advice(config)]:
            journal.warning(warning)
        if not_read := hints.not_read(config):
            journal.info(not_read)
        if self._port_check and not self._synchronizer.inside_vpn:
            journal.warning(
                f"PORT_CHECK_URL is not asked while there is no interface {config.vpn_interface} "
                "here: from elsewhere the outside would dial this host's own address; share "
                "Gluetun's network, or set VPN_INTERFACE to the VPN's"
            )

    def _serve(self) -> Server | None:
        """Start the HTTP server; None where it can't, which is told."""
        config = self._config
        address, port = config.metrics_address, config.metrics_port
        chain, key = config.metrics_tls_cert_file, config.metrics_tls_key_file
        try:
            certificate = Certificate(chain, key) if chain and key else None
            server = Server(address, port, self._routes, certificate)
        except OSError as error:
            self._journal.cannot_serve(address, port, error)
            return None
        server.start()
        url = config.metrics_url
        self._journal.info(f"Serving the page and metrics at {url}", Event.HTTP, url=url)
        return server

    def _work(self) -> None:
        try:
            self._worker.run()
        finally:
            self._worker_ended.set()
            signals.wake_main_thread()

    def _start_watches(self) -> list[_Watch]:
        """Start what triggers a sync early; where it can't be had, the interval serves."""
        config, trigger = self._config, self._worker.trigger
        watches: dict[str, _Watch] = {
            f"interface {config.vpn_interface}": InterfaceWatch(
                config.vpn_interface, partial(trigger, Trigger.INTERFACE)
            )
        }
        if config.gluetun_port_file:
            # Most do without this, and so without ctypes.
            from qsticky.kernel.port_file_watch import PortFileWatch

            watches[f"port file {config.gluetun_port_file}"] = PortFileWatch(
                config.gluetun_port_file,
                changed=partial(trigger, Trigger.PORT_FILE),
                failed=self._port_file_unwatched,
            )
        for name, watch in list(watches.items()):
            try:
                watch.start()
            except OSError as error:
                del watches[name]
                self._journal.warning(
                    f"The {name} can't be watched ({error}); a change is noticed within "
                    f"CHECK_INTERVAL, {config.check_interval:g} s"
                )
        return list(watches.values())

    def _port_file_unwatched(self, error: OSError) -> None:
        self._journal.warning(
            f"The port file {self._config.gluetun_port_file} can't be watched any more as it was "
            f"({error}); a change may be noticed within CHECK_INTERVAL, "
            f"{self._config.check_interval:g} s"
        )

    def _record(self, report: SyncReport, pause: float) -> None:
        self._metrics.record(report)
        self._journal.record(report)
        if self._notifier:
            self._notifier.record(report)
        self._wrote_health_file(self._health.record(report, pause))

    def _observe(self, exchange: Exchange) -> None:
        self._metrics.observe(exchange)
        self._journal.observe(exchange)
        self._stay_fresh()

    def _stay_fresh(self, longest: float | None = None) -> None:
        """Keep the health file from going stale in what may take so many seconds now."""
        if error := self._health.refresh(longest):  # None: also where nothing had to be written
            self._wrote_health_file(error)

    def _wrote_health_file(self, error: OSError | None) -> None:
        if error:
            self._metrics.health_file_failed()
        self._journal.health_file(error)

    def _request_sync(self, rebind: bool) -> str:
        """Ask for a sync, and tell what will come of it, and when."""
        waits = self._synchronizer.rebind_waits()
        self._worker.trigger(Trigger.REQUEST, rebind=rebind)
        if not rebind:
            return "A sync will run"
        if waits is None:
            return "A sync will run, and not rebind, since QBITTORRENT_REBIND is false"
        when = f"in {math.ceil(waits)} s" if waits else "at once"
        return f"A sync will rebind the listening sockets, {when} or as soon as there is a port"

    # What is only there where it was asked for

    def _make_port_check(self) -> PortCheck | None:
        url = self._config.port_check_url
        if not url:
            return None
        return PortCheck(
            lambda port: OutsideService(url.reveal()).is_open(port),
            interval=self._config.port_check_interval,
            inside_vpn=lambda: self._synchronizer.inside_vpn,
            changed=lambda: self._worker.trigger(Trigger.INTERVAL),
            count=self._metrics.port_checked,
            tell=self._journal.warning,
            clock=self._clock,
        )

    def _make_vpn_restart(self) -> VpnRestart | None:
        config = self._config
        if not config.gluetun_restart_after:
            return None
        return VpnRestart(
            make_vpn_control(config, self._observe),
            after=config.gluetun_restart_after,
            clock=self._clock,
            tell=lambda n: self._journal.vpn_restart(n.sentence, n.reason, failed=n.failed),
        )

    def _make_notifications(self) -> "tuple[Delivery, Notifier]":
        from qsticky.record import addresses
        from qsticky.record.delivery import Delivery
        from qsticky.record.notify import Notifier

        config = self._config
        delivery = Delivery(
            addresses.parse(config.notify_urls.reveal()),
            count=lambda sent: self._metrics.notified(sent=sent),
            tell=partial(self._journal.warning, event=Event.NOTIFICATION_FAILED),
            clock=self._clock,
        )
        return delivery, Notifier(
            delivery, after=config.notify_after, on=config.notify_on, clock=self._clock
        )


def _options(config: Config) -> Options:
    beside = is_loopback(config.qbittorrent_host)
    everywhere = config.metrics_address in ("0.0.0.0", "::")
    return Options(
        vpn_interface=config.vpn_interface,
        webui_port=config.qbittorrent_port,
        beside=beside,
        same_network=beside and is_loopback(config.gluetun_host),
        port_index=config.gluetun_port_index,
        fixed_port=config.forwarded_port,
        metrics_port=config.metrics_port if beside and everywhere else None,
        port_grace=config.port_grace,
        rebind=config.qbittorrent_rebind,
        api_key=bool(config.qbittorrent_api_key),
    )
