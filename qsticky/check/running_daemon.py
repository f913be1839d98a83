"""The section on qSticky itself: one that runs beside this check, and what one needs to run."""

import errno
import json
import os
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from qsticky import healthcheck
from qsticky.check import remedies
from qsticky.check.facts import Facts
from qsticky.check.findings import Finding, Section
from qsticky.config import Config
from qsticky.errors import Reason, ServiceError
from qsticky.files import open_at_once
from qsticky.services.gluetun import basic_authorization
from qsticky.services.http import HttpClient, Response, Service, unobserved
from qsticky.sync.report import Status

SECTION = Section("qSticky")

_LARGEST_HEALTH_FILE = 64 * 1024
_DEAD = (
    "a qSticky that died was not let in, or not yet, and qBittorrent goes on counting; start "
    "qSticky, or remove {path} once qBittorrent was restarted or the credentials are corrected"
)
_REFUSED = (Reason.QBITTORRENT_UNAUTHORIZED, Reason.QBITTORRENT_BANNED)


def refusal(facts: Facts) -> Reason | None:
    """Tell why qBittorrent refuses the running qSticky; None where it doesn't, or none runs."""
    told = facts.document["reason"] if facts.document else None
    return next((reason for reason in _REFUSED if reason == told), None)


def why_no_login(facts: Facts) -> str | None:
    """Tell why a login could do harm; None where it can't.

    A qSticky without a session may have been refused four times already: also one that died, for
    qBittorrent goes on counting.
    """
    if not facts.daemon_is_known:
        return "it is not known whether the running qSticky was refused"
    if (dead := facts.left_behind) and not facts.document:
        return None if _has_session(dead) else _DEAD.format(path=facts.config.health_file)
    document = facts.document
    if document is None or _has_session(document):
        return None
    if refusal(facts):
        return f"the running qSticky was told that {document['last_error']}"
    return "the running qSticky is not let in, or not yet"


def metrics_port(facts: Facts) -> Iterator[Finding]:
    """See that the metrics port is free, or that a qSticky serves it."""
    config, check = facts.config, "metrics_port"
    where = f"METRICS_PORT {config.metrics_port}"
    error = _bind(config.metrics_address, config.metrics_port)
    if error is None:
        yield SECTION.ok(check, f"{where} is free")
        return
    if error.errno != errno.EADDRINUSE:
        yield SECTION.failed(
            check,
            f"{where} can't be served at METRICS_ADDRESS {config.metrics_address} "
            f"({error.strerror})",
            remedies.for_qsticky(facts, "METRICS_ADDRESS=0.0.0.0", "METRICS_PORT=10058"),
        )
        return
    if not _is_qsticky(config):
        yield SECTION.failed(
            check,
            f"{where} is taken: what answers at {config.metrics_url} is not a qSticky as it is "
            "configured here",
            remedies.for_qsticky(facts, f"METRICS_PORT={_free_port(config)}"),
        )
        return
    # Only now: the credentials are for nobody else.
    ready = _ask(config, "/-/ready", signed=True)
    served = _document(ready.body)
    facts.document = served if _is_fresh(served, facts) else None
    if ready.status == 401:
        refuses = "refuses METRICS_USERNAME and METRICS_PASSWORD as they are set here"
        yield SECTION.failed(check, f"The qSticky at {config.metrics_url} {refuses}")
    else:
        yield SECTION.ok(check, f"{where} is served by a running qSticky")


def certificate(facts: Facts) -> Iterator[Finding]:
    """See that certificate and key can be used."""
    chain, key = facts.config.metrics_tls_cert_file, facts.config.metrics_tls_key_file
    if not (chain and key):
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key)
    except OSError as error:  # ssl.SSLError is one
        why = error.strerror or "they are no pair"
        yield SECTION.failed("metrics_tls", f"{chain} and {key} can't be used for HTTPS ({why})")
    else:
        yield SECTION.ok("metrics_tls", f"{chain} and {key} are a pair")


def health_file(facts: Facts) -> Iterator[Finding]:
    """See that the health file could be written, and what a running qSticky wrote there."""
    path, check = facts.config.health_file, "health_file"
    config = facts.config
    longest = healthcheck.longest_validity(config.check_interval, config.request_timeout)
    told = healthcheck.unhealthy(str(path), _now(facts), longest)
    written = _document(_content(str(path)))
    fresh = _is_fresh(written, facts, longest)
    if fresh:
        facts.document = facts.document or written
    else:
        facts.left_behind = written
    facts.daemon_is_known = True
    folder = next(filter(os.path.exists, path.parents), path.parent)
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        cant = f"HEALTH_FILE {path} can't be written"
        yield SECTION.failed(check, cant, *remedies.writable_health_file(facts))
    elif fresh:
        yield SECTION.ok(check, f"HEALTH_FILE {path} is fresh")
    elif os.path.exists(path):
        yield SECTION.warning(check, f"HEALTH_FILE {path} can be written; {told}")
    else:
        yield SECTION.ok(check, f"HEALTH_FILE {path} can be written; there is none now")


def verdict(facts: Facts) -> Iterator[Finding]:
    """Repeat what the running qSticky says of itself."""
    check, document = "daemon", facts.document
    if document is None:
        yield SECTION.skipped(check, "No qSticky runs here now")
        return
    status, reason = document["status"], document["reason"]
    if document["healthy"] is True:
        yield SECTION.ok(check, f"The running qSticky is healthy ({status})")
    elif status == Status.STARTING:
        yield SECTION.warning(check, "The running qSticky is starting; check again in a moment")
    else:
        fails = f"The running qSticky fails ({reason}): {document['last_error']}"
        yield SECTION.failed(check, fails)


CHECKS = (metrics_port, certificate, health_file, verdict)


def _now(facts: Facts) -> datetime:
    return datetime.fromtimestamp(facts.clock.now(), UTC)


def _document(content: bytes) -> dict[str, Any] | None:
    """Read a health document; None for what is not one."""
    try:
        document: dict[str, Any] = json.loads(content)
        dated = datetime.fromisoformat(document["stale_after"]).tzinfo is not None
        known = document["services"]["qbittorrent"].keys() >= {"connected"}
        named = document.keys() >= {"healthy", "status", "reason", "last_error"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return document if dated and known and named else None


def _is_fresh(
    document: dict[str, Any] | None, facts: Facts, longest: timedelta = timedelta.max
) -> bool:
    """Whether it still counts; one that is good for longer than that is by another clock."""
    if document is None:
        return False
    left = datetime.fromisoformat(document["stale_after"]) - _now(facts)
    return timedelta() <= left <= longest


def _has_session(document: dict[str, Any]) -> bool:
    return document["services"]["qbittorrent"]["connected"] is True


def _is_qsticky(config: Config) -> bool:
    try:
        return _ask(config, "/-/healthy").headers.get("Server") == "qSticky"
    except ServiceError:
        return False


def _ask(config: Config, path: str, *, signed: bool = False) -> Response:
    """Ask what serves the metrics port; raises ServiceError."""
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
    with http.exchange("GET", path, headers=headers) as answer:
        return answer


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
