"""Wiring and lifecycle of the daemon: what knows what, start, signals and stop."""

import threading
from collections.abc import Mapping
from functools import partial
from typing import Protocol

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from qsticky import __version__, hints, signals
from qsticky.clock import SystemClock
from qsticky.config import AuthType, Config, is_loopback
from qsticky.kernel import netlink
from qsticky.kernel.interface_watch import InterfaceWatch
from qsticky.record import logs
from qsticky.record.health import Health
from qsticky.record.journal import Journal, RecentEvents
from qsticky.record.metrics import Metrics
from qsticky.services.factory import make_gluetun, make_qbittorrent
from qsticky.services.http import Exchange
from qsticky.services.qbittorrent import LoginLimit
from qsticky.sync.report import SyncReport, Trigger
from qsticky.sync.synchronizer import Options, Synchronizer
from qsticky.sync.vpn_interface import Kernel
from qsticky.sync.worker import Worker
from qsticky.web.certificate import Certificate
from qsticky.web.routes import Routes
from qsticky.web.server import Server

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
        self._synchronizer = Synchronizer(
            make_gluetun(config, self._observe),
            make_qbittorrent(config, self._observe, LoginLimit(self._clock)),
            _options(config),
            kernel=kernel,
            clock=self._clock,
            stopping=stopping,
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
            self._credentials,
        )

    def run(self) -> int:
        """Run until SIGTERM or SIGINT, and return the exit code.

        0 after a signal; 1 when it can't run: the port is taken, or the worker died.
        """
        config = self._config
        signals.block()
        signals.reap_orphans()
        threading.excepthook = self._journal.thread_died
        start = _start_fields(config)
        self._journal.startup(_start_line(config, start), **start)
        for warning in [*hints.misnamed(config), *hints.advice(config)]:
            self._journal.warning(warning)
        if not_read := hints.not_read(config):
            self._journal.note(not_read)
        try:
            server = Server(
                config.metrics_address, config.metrics_port, self._routes, _certificate(config)
            )
        except OSError as error:
            self._journal.cannot_serve(config.metrics_address, config.metrics_port, error)
            return 1
        server.start()
        self._journal.serving(config.metrics_url)
        self._health.remove_leftovers()
        self._wrote_health_file(self._health.write())
        watches = self._start_watches()
        worker = threading.Thread(target=self._work, name="worker", daemon=True)
        worker.start()
        received = signals.wait()
        died = self._worker_ended.is_set()
        self._worker.stop()
        worker.join(_TIME_TO_STOP)  # a request that hangs is left behind
        for watch in watches:
            watch.stop()
        server.close()
        self._health.remove()
        reason = "the worker died" if died else f"received {received}"
        self._journal.shutdown(f"Stopped: {reason}")
        return 1 if died else 0

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
        self._wrote_health_file(self._health.record(report, pause))

    def _observe(self, exchange: Exchange) -> None:
        self._metrics.observe(exchange)
        self._journal.observe(exchange)
        if error := self._health.refresh():  # None also tells that nothing had to be written
            self._wrote_health_file(error)

    def _wrote_health_file(self, error: OSError | None) -> None:
        if error:
            self._metrics.health_file_failed()
        self._journal.health_file(error)

    def _request_sync(self, rebind: bool) -> str:
        self._worker.trigger(Trigger.REQUEST, rebind=rebind)
        return "A sync will run"

    def _credentials(self) -> tuple[str, str] | None:
        config = self._config
        if not config.metrics_auth_configured:
            return None
        return config.metrics_username.reveal(), config.metrics_password.reveal()


def _options(config: Config) -> Options:
    beside = is_loopback(config.qbittorrent_host)
    everywhere = config.metrics_address in ("0.0.0.0", "::")
    return Options(
        vpn_interface=config.vpn_interface,
        webui_port=config.qbittorrent_port,
        beside=beside,
        same_network=beside and is_loopback(config.gluetun_host),
        port_index=config.gluetun_port_index,
        metrics_port=config.metrics_port if beside and everywhere else None,
        port_grace=config.port_grace,
        rebind=config.qbittorrent_rebind,
        api_key=bool(config.qbittorrent_api_key),
    )


def _certificate(config: Config) -> Certificate | None:
    if config.metrics_tls_cert_file is None or config.metrics_tls_key_file is None:
        return None
    return Certificate(config.metrics_tls_cert_file, config.metrics_tls_key_file)


def _start_fields(config: Config) -> dict[str, object]:
    """What the start line tells, for machines."""
    no_key = config.gluetun_auth_type is AuthType.APIKEY and not config.gluetun_apikey
    return {
        "version": __version__,
        "gluetun_url": config.gluetun_url,
        "gluetun_auth": AuthType.NONE if no_key else config.gluetun_auth_type,
        "qbittorrent_url": config.qbittorrent_url,
        "qbittorrent_auth": "apikey" if config.qbittorrent_api_key else "password",
        "check_interval": config.check_interval,
    }


def _start_line(config: Config, fields: Mapping[str, object]) -> str:
    credentials = {
        "apikey": "with an API key",
        "basic": "with user and password",
        "password": "with user and password",
        "none": "without a credential",
    }
    return (
        f"qSticky {__version__}: Gluetun at {config.gluetun_url} "
        f"{credentials[str(fields['gluetun_auth'])]}, qBittorrent at {config.qbittorrent_url} "
        f"{credentials[str(fields['qbittorrent_auth'])]}, checked every {config.check_interval:g} s"
    )
