"""What a check sees of the qSticky that runs beside it, and of the places that one needs."""

import errno
import json
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

from qsticky import healthcheck
from qsticky.check import remedies
from qsticky.check.findings import Finding, Section
from qsticky.clock import Clock
from qsticky.config import Config
from qsticky.errors import Reason, ServiceError
from qsticky.files import open_at_once
from qsticky.services.gluetun import basic_authorization
from qsticky.services.http import HttpClient, Response, Service, unobserved
from qsticky.sync.report import Status

_T = TypeVar("_T")

_LARGEST_HEALTH_FILE = 64 * 1024
_REFUSED = (Reason.QBITTORRENT_UNAUTHORIZED, Reason.QBITTORRENT_BANNED)


class Neighbour:
    """Looks for a running qSticky: `document` is its health document, once the checks have run."""

    def __init__(self, config: Config, section: Section, clock: Clock) -> None:
        self.document: dict[str, Any] | None = None
        self.checks: tuple[Callable[[], Iterator[Finding]], ...] = (
            self._metrics_port,
            self._certificate,
            self._health_file,
            self._its_word,
        )
        self._config = config
        self._section = section
        self._clock = clock
        self._looked = False

    @property
    def refused_for(self) -> Reason | None:
        """Why qBittorrent refuses the running qSticky; None where it doesn't, or none runs."""
        told = self.document["reason"] if self.document else None
        return next((reason for reason in _REFUSED if reason == told), None)

    @property
    def why_no_login(self) -> str | None:
        """Why a login could do harm; None where it can't.

        A running qSticky without a session may have been refused four times already.
        """
        if not self._looked:
            return "it is not known whether the running qSticky was refused"
        if self.document is None or self.document["services"]["qbittorrent"]["connected"] is True:
            return None
        if self.refused_for:
            return f"the running qSticky was told that {self.document['last_error']}"
        return "the running qSticky is not let in, or not yet"

    def _metrics_port(self) -> Iterator[Finding]:
        config, section, check = self._config, self._section, "metrics_port"
        where = f"METRICS_PORT {config.metrics_port}"
        error = _bind(config.metrics_address, config.metrics_port)
        if error is None:
            yield section.ok(check, f"{where} is free")
            return
        if error.errno != errno.EADDRINUSE:
            yield section.failed(
                check,
                f"{where} can't be served at METRICS_ADDRESS {config.metrics_address} "
                f"({error.strerror})",
                remedies.for_qsticky("METRICS_ADDRESS=0.0.0.0", "METRICS_PORT=10058"),
            )
            return
        if not self._is_qsticky():
            yield section.failed(
                check,
                f"{where} is taken: what answers at {config.metrics_url} is no qSticky as it is "
                "configured here",
                remedies.for_qsticky(f"METRICS_PORT={_free_port(config)}"),
            )
            return
        # Only now: the credentials are for nobody else.
        status, self.document = self._ask("/-/ready", self._read_document, signed=True)
        if status == 401:
            refuses = "refuses METRICS_USERNAME and METRICS_PASSWORD as they are set here"
            yield section.failed(check, f"The qSticky at {config.metrics_url} {refuses}")
        else:
            yield section.ok(check, f"{where} is served by a running qSticky")

    def _certificate(self) -> Iterator[Finding]:
        certificate, key = self._config.metrics_tls_cert_file, self._config.metrics_tls_key_file
        if certificate and key:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
            except OSError as error:  # ssl.SSLError is one
                why = error.strerror or "they are no pair"
                text = f"{certificate} and {key} can't be used for HTTPS ({why})"
                yield self._section.failed("metrics_tls", text)
            else:
                yield self._section.ok("metrics_tls", f"{certificate} and {key} are a pair")

    def _health_file(self) -> Iterator[Finding]:
        path, section, check = self._config.health_file, self._section, "health_file"
        told = healthcheck.unhealthy(str(path), self._now)
        fresh = self._fresh(_content(str(path)))
        self.document = self.document or fresh
        self._looked = True
        folder = path.parent
        while not os.path.exists(folder) and folder != folder.parent:
            folder = folder.parent
        if path.is_dir() or not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
            cant = f"HEALTH_FILE {path} can't be written"
            yield section.failed(check, cant, *remedies.WRITABLE_HEALTH_FILE)
        elif fresh:
            yield section.ok(check, f"HEALTH_FILE {path} is fresh")
        elif os.path.exists(path):
            yield section.warning(check, f"HEALTH_FILE {path} can be written; {told}")
        else:
            yield section.ok(check, f"HEALTH_FILE {path} can be written; there is none now")

    def _its_word(self) -> Iterator[Finding]:
        section, check = self._section, "daemon"
        if self.document is None:
            yield section.skipped(check, "No qSticky runs here now")
            return
        status, reason = self.document["status"], self.document["reason"]
        if self.document["healthy"] is True:
            yield section.ok(check, f"The running qSticky is healthy ({status})")
        elif status == Status.STARTING:
            yield section.warning(check, "The running qSticky is starting; check again in a moment")
        else:
            word = f"The running qSticky fails ({reason}): {self.document['last_error']}"
            yield section.failed(check, word)

    @property
    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)

    def _fresh(self, content: bytes) -> dict[str, Any] | None:
        """Read a health document; None for one that is stale, or no such document."""
        try:
            document: dict[str, Any] = json.loads(content)
            fresh = self._now <= datetime.fromisoformat(document["stale_after"])
            known = document["services"]["qbittorrent"].keys() >= {"connected"}
            named = document.keys() >= {"healthy", "status", "reason", "last_error"}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        return document if fresh and known and named else None

    def _read_document(self, response: Response) -> tuple[int, dict[str, Any] | None]:
        return response.status, self._fresh(response.body)

    def _is_qsticky(self) -> bool:
        try:
            return self._ask("/-/healthy", lambda answer: answer.headers.get("Server") == "qSticky")
        except ServiceError:
            return False

    def _ask(self, path: str, read: Callable[[Response], _T], *, signed: bool = False) -> _T:
        """Ask what serves the metrics port; raises ServiceError."""
        config = self._config
        service = Service(
            "qsticky",
            "The HTTP server",
            config.metrics_url,
            Reason.INTERNAL,
            Reason.INTERNAL,
            verify=False,  # its certificate is made for the name by which others know it
        )
        headers = {}
        if signed and config.metrics_username:
            user, password = config.metrics_username.reveal(), config.metrics_password.reveal()
            headers = basic_authorization(user, password)
        http = HttpClient(service, config.request_timeout, unobserved)
        return http.request("GET", path, headers=headers, read=read)


def _bind(address: str, port: int) -> OSError | None:
    """Try whether the daemon could serve there; it could still, even at this moment.

    A socket that doesn't listen is in nobody's way.
    """
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, where = found[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except OSError as error:
        return error
    return None


def _free_port(config: Config) -> int:
    ports = range(config.metrics_port + 1, 65536)
    return next((port for port in ports if not _bind(config.metrics_address, port)), 10058)


def _content(path: str) -> bytes:
    try:
        with open_at_once(path) as file:
            return file.read(_LARGEST_HEALTH_FILE) or b""
    except (OSError, ValueError):
        return b""
