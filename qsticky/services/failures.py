"""Turns what went wrong on the way to a service into a typed error: what, where, the remedy."""

import errno
import http.client
import os
import re
import socket
import ssl
from typing import NamedTuple
from urllib.parse import urlsplit

from qsticky.errors import ErrorKind, Reason, ServiceError
from qsticky.services.bounded_answer import UnfitAnswerError
from qsticky.services.line import ForAnotherHostError, NoCertificateError, Response, Stage
from qsticky.text import kept


class Service(NamedTuple):
    """Who is spoken to, in the words of metrics, of people and of the configuration.

    `verify` is whether, or with which CA bundle, its certificate is verified. `ipv4_only` has its
    name's IPv6 addresses left aside.
    """

    label: str
    name: str
    url: str
    unreachable: Reason
    invalid_response: Reason
    verify: bool | str = True
    ipv4_only: bool = False

    @property
    def where(self) -> str:
        """The service and its address, as a sentence begins."""
        return f"{self.name} at {self.url}"

    @property
    def may_speak_https(self) -> bool:
        """Whether it is spoken to in plain HTTP, and could be in HTTPS."""
        return self.url.startswith("http:") and self.label == "qbittorrent"

    @property
    def variables(self) -> str:
        """The variables that say where the service is."""
        return f"{self.label.upper()}_HOST and {self.label.upper()}_PORT"


def invalid_response(
    service: Service, kind: ErrorKind, problem: str, first: str = ""
) -> ServiceError:
    """Make the error of an answer that this service would not give; `first` is a remedy before."""
    return ServiceError(
        service.invalid_response,
        kind,
        f"{service.where} {problem}; {first}check that {service.variables} name it, and not a "
        "proxy or another service",
    )


def unexpected_status(service: Service, answer: Response, to: str = "") -> ServiceError:
    """Make the error of a status that this service would not answer, by what it is a sign of."""
    problem, first = f"answered {answer.status}{to}", ""
    if is_a_gateways(answer):
        problem, first = f"{problem}, as a proxy does that can't reach it", "see that it runs, and "
    elif service.may_speak_https and (port := port_of_https(service.url, answer)):
        first = f"set QBITTORRENT_HTTPS=true and QBITTORRENT_PORT={port}, or "
        problem = f"{problem}, which leads to HTTPS"
    elif service.may_speak_https and answer.status == 400:  # of a server that expects TLS there
        first = f"{_SET_HTTPS}, or "
    return invalid_response(service, ErrorKind.HTTP_STATUS, problem, first)


def is_a_gateways(answer: Response) -> bool:
    """Whether a proxy says that it can't reach what is behind it."""
    return 502 <= answer.status <= 504


def port_of_https(url: str, answer: Response) -> int | None:
    """Return the port at which a redirect has the same host speak HTTPS; None for any other."""
    try:
        there = urlsplit(answer.headers.get("Location", ""))
        port = there.port or 443
    except ValueError:
        return None
    on = 300 < answer.status < 400 and there.scheme == "https"
    return port if on and there.hostname == urlsplit(url).hostname else None


def unsendable(service: Service) -> ServiceError:
    """Make the error of a request that can't be made, for what is in one of its headers."""
    problem = (
        "can't be asked, for a credential has a character in it that no header can carry, such as "
        "a line break; correct the credential"
    )
    return _unreachable(OSError(), service, Stage.CONNECTING, ErrorKind.CONNECTION, problem)


def has_ca(service: Service) -> bool:
    """Whether the CA's certificates are there, if any are wanted: a FIFO would hold the reader."""
    ca = service.verify
    return isinstance(ca, bool) or os.path.isfile(ca) or os.path.isdir(ca)


def unverifiable(service: Service) -> ServiceError:
    """Make the error of a request that is not sent, for want of the CA's certificates."""
    file = f"{service.label.upper()}_CA_FILE {_literal(str(service.verify))}"
    problem = f"can't be verified, for {file} holds no certificate; put the CA's there, in PEM form"
    return _unreachable(OSError(), service, Stage.CONNECTING, ErrorKind.TLS, problem)


def explain(
    error: BaseException, service: Service, stage: Stage, timeout: float
) -> ServiceError | None:
    """Tell what an exception means that ended a request at a stage, and what to do about it.

    None for one that no network causes. `timeout` is the request's, in seconds.
    """
    if isinstance(error, UnfitAnswerError):
        return invalid_response(service, ErrorKind.INVALID_RESPONSE, error.problem)
    if isinstance(error, NoCertificateError):
        return unverifiable(service)
    if isinstance(error, TimeoutError):
        kind, problem = _timed_out(stage, timeout)
    elif alert := _ALERT.match(getattr(error, "reason", None) or ""):
        kind, problem = ErrorKind.TLS, _refused_handshake(alert[0])
    elif isinstance(error, ForAnotherHostError):
        kind, problem = ErrorKind.TLS, _for_another_host(error.names)
    elif isinstance(error, ssl.SSLCertVerificationError):
        kind, problem = ErrorKind.TLS, _refused_certificate(error, service)
    elif row := next((row for row in _FAILURES if isinstance(error, row.causes)), None):
        kind, problem = row.kind, row.problem
    elif isinstance(error, OSError) and error.errno:
        remedy = _SHORTAGE if error.errno in _SHORTAGES else "{check}"
        why = os.strerror(error.errno)
        kind, problem = ErrorKind.CONNECTION, f"can't be reached ({why}); {remedy}"
    elif isinstance(error, http.client.HTTPException):
        problem = "answered with something that is not HTTP"
        return invalid_response(service, ErrorKind.INVALID_RESPONSE, problem)
    else:
        return None
    return _unreachable(error, service, stage, kind, problem)


def _unreachable(
    error: BaseException, service: Service, stage: Stage, kind: ErrorKind, problem: str
) -> ServiceError:
    check = f"check that it runs and that {service.variables} are right"
    words = {
        "check": check,
        "https": f"{_SET_HTTPS}, and {_SET_PORT}" if service.may_speak_https else check,
        "host": f"{service.label.upper()}_HOST",
        "peers": _SET_PORT,
        "variables": service.variables,
    }
    return ServiceError(
        service.unreachable,
        kind,
        f"{service.where} {problem.format_map(words)}",
        absent=_nobody_is_there(error),
        sent=stage is Stage.ESTABLISHED,
    )


def _nobody_is_there(error: BaseException) -> bool:
    unknown = isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME
    return unknown or isinstance(error, ConnectionRefusedError)


def _timed_out(stage: Stage, timeout: float) -> tuple[ErrorKind, str]:
    within = f"within {timeout:g} s"
    if stage is Stage.SECURING:
        return ErrorKind.TLS, (
            f"did not answer the TLS handshake {within}; if it speaks plain HTTP there, set "
            "QBITTORRENT_HTTPS=false"
        )
    if stage is Stage.CONNECTING:
        return ErrorKind.TIMEOUT, (
            f"could not be connected to {within}; {{check}}, and that no firewall drops the "
            "connection"
        )
    return ErrorKind.TIMEOUT, (
        f"took the connection and did not answer {within}; look at its log, restart it if it "
        "hangs, raise REQUEST_TIMEOUT if it is slow, or check that {variables} name it, and not "
        "another service"
    )


def _refused_handshake(alert: str) -> str:
    told = alert.lower().replace("_", " ")
    return (
        f"refused the TLS handshake ({told}), as a proxy does that has no site of that name; set "
        "QBITTORRENT_HOST to the name that it has, or let it and QBITTORRENT_PORT name qBittorrent "
        "itself"
    )


def _refused_certificate(error: ssl.SSLCertVerificationError, service: Service) -> str:
    why = _literal(error.verify_message.rstrip("."))
    remedy = _CERTIFICATES.get(error.verify_code, "have a new one made without that fault")
    if error.verify_code in _UNKNOWN_ISSUER:
        is_set = isinstance(service.verify, str)
        remedy = _OTHER_CA if is_set else _NO_CA
    return f"has a certificate that was refused ({why}); {remedy}, or {_UNVERIFIED}"


def _for_another_host(names: tuple[str, ...] | None) -> str:
    if names == ():
        return (
            "has a certificate that names no host; make one that does (subjectAltName; a common "
            f"name alone does not count), or {_UNVERIFIED}"
        )
    told = f" ({', '.join(names[:_MOST_NAMES])})" if names else ""
    return (
        f"has a certificate that is for another host; set QBITTORRENT_HOST to a name that it is "
        f"for{_literal(told)}, or {_UNVERIFIED}"
    )


def _literal(text: str) -> str:
    """Make a text from elsewhere fit for a sentence in which remedies stand by their names."""
    return kept(text[:_LONGEST_QUOTE]).replace("{", "(").replace("}", ")")


class _Failure(NamedTuple):
    """What these causes mean; in `problem` stand the remedies by their names."""

    causes: tuple[type[BaseException], ...]
    kind: ErrorKind
    problem: str


# The first that applies counts: some are kinds of others.
_FAILURES = (
    _Failure(
        (ssl.SSLError,),
        ErrorKind.TLS,
        "did not speak TLS as expected; if it speaks plain HTTP there, set "
        "QBITTORRENT_HTTPS=false, and {peers}",
    ),
    _Failure(
        (socket.gaierror, UnicodeError),  # UnicodeError: of a name in other letters
        ErrorKind.CONNECTION,
        "can't be found by that name; check {host}: a container's name is known to the containers "
        "in one network with it, while it runs",
    ),
    _Failure((ConnectionRefusedError,), ErrorKind.CONNECTION, "refused the connection; {check}"),
    _Failure(
        (http.client.IncompleteRead,),
        ErrorKind.CONNECTION,
        "broke off in the middle of its answer; look at its log, and {check}",
    ),
    _Failure(
        (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError),
        ErrorKind.CONNECTION,
        "closed the connection without an answer; {https}",
    ),
)
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM)
_SHORTAGE = (
    "qSticky has no descriptors, threads or memory left; raise its limits (in compose: ulimits, "
    "pids_limit, mem_limit)"
)
_SET_HTTPS = "if it speaks HTTPS there, set QBITTORRENT_HTTPS=true"
_SET_PORT = "if that is its port for peers, set QBITTORRENT_PORT to its WebUI's"
_ALERT = re.compile(r"(SSLV3_ALERT|TLSV1|TLSV13)_\w+")  # OpenSSL's name of what the other side sent
_NO_CA = "set QBITTORRENT_CA_FILE to the certificate of the CA that signed it"
_OTHER_CA = (
    "put the certificate of the CA that signed it, and of each CA above that, into "
    "QBITTORRENT_CA_FILE"
)
_UNVERIFIED = "set QBITTORRENT_VERIFY_SSL=false to accept any certificate"
# By OpenSSL's X509_V_ERR_...: UNABLE_TO_GET_ISSUER_CERT, DEPTH_ZERO_SELF_SIGNED_CERT,
# SELF_SIGNED_CERT_IN_CHAIN, UNABLE_TO_GET_ISSUER_CERT_LOCALLY, UNABLE_TO_VERIFY_LEAF_SIGNATURE
_UNKNOWN_ISSUER = (2, 18, 19, 20, 21)
_CERTIFICATES = {
    9: "set the clock of this machine, or of the one that made it, right",  # CERT_NOT_YET_VALID
    10: "renew it",  # CERT_HAS_EXPIRED
}
_MOST_NAMES = 5
_LONGEST_QUOTE = 300
