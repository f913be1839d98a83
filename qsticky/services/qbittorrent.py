"""Translates qBittorrent's WebUI API into preferences, settings and errors."""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address

from qsticky.clock import Clock
from qsticky.errors import ErrorKind, Reason, ServiceError, SyncError
from qsticky.services.http import HttpClient, Response, Service

LOGIN = "login"
_MOST_COOKIES = 16
_MINUTE = 60.0


class ConnectionStatus(StrEnum):
    """What qBittorrent says of its reachability (`transfer/info`).

    `disconnected`: no socket at all; `firewalled`: listening, nothing came in yet; `connected`:
    something came in from a public address.
    """

    CONNECTED = "connected"
    FIREWALLED = "firewalled"
    DISCONNECTED = "disconnected"


class Authentication(StrEnum):
    """What it takes to be let in; with a bypass for our address, nothing."""

    API_KEY = "api_key"
    PASSWORD = "password"
    BYPASS = "bypass"


@dataclass(frozen=True)
class Credentials:
    """A user's name and password; neither shows in a `repr`."""

    user: str
    password: str

    def __repr__(self) -> str:
        return "Credentials()"


@dataclass(frozen=True)
class Preferences:
    """The part of qBittorrent's preferences that a forwarded port depends on.

    `listen_port` is as stored: qBittorrent also stores ports that can't be.
    """

    listen_port: int
    random_port: bool
    upnp: bool
    interface: str


@dataclass(frozen=True)
class ListenFailure:
    """qBittorrent's word that it could not listen on an address, and its whole message."""

    address: IPv4Address | IPv6Address
    message: str


class LoginLimit:
    """Decides when a login may be tried, so that qBittorrent never bans our address.

    qBittorrent bans an address for an hour at the fifth refused login, however far apart; its
    count lives in its memory. So at most four in a row: at once, then after 1, 5 and 15 minutes.
    After that only evidence that something changed allows another.
    """

    _PAUSES = (1 * _MINUTE, 5 * _MINUTE, 15 * _MINUTE)
    _BAN_PAUSE = 15 * _MINUTE

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._refused = 0
        self._tried: Credentials | None = None
        self._next_try: float | None = 0.0
        self._error: SyncError | None = None

    def check(self, credentials: Credentials) -> None:
        """Raise the last refusal's error while no login may be tried with these credentials."""
        if self._error is None or credentials != self._tried:
            return
        if self._next_try is None or self._clock.monotonic() < self._next_try:
            raise SyncError(self._error.reason, str(self._error))

    def refused(self, credentials: Credentials, where: str) -> ServiceError:
        """Count a refused login, and make its error."""
        self._refused += 1
        pauses = dict(enumerate(self._PAUSES, start=1))
        pause = pauses.get(self._refused)
        error = ServiceError(
            Reason.QBITTORRENT_UNAUTHORIZED,
            ErrorKind.UNAUTHORIZED,
            f"{where} refused the user name or the password; correct QBITTORRENT_USER and "
            f"QBITTORRENT_PASS ({self.plan(pause)})",
        )
        self._remember(credentials, error, pause)
        return error

    def plan(self, pause: float | None) -> str:
        """Tell what comes after a refusal; None for no pause that would be long enough."""
        if pause is not None:
            return f"the next login is tried in {pause / _MINUTE:g} min"
        return (
            f"after {self._refused} refusals no login is tried again, lest qBittorrent ban this "
            "address, until qBittorrent restarts or the credentials' file changes"
        )

    def banned(self, credentials: Credentials, where: str) -> ServiceError:
        """Note that qBittorrent has banned this address, and make the error."""
        error = ServiceError(
            Reason.QBITTORRENT_BANNED,
            ErrorKind.UNAUTHORIZED,
            f"{where} has banned this address after too many failed logins; correct "
            "QBITTORRENT_USER and QBITTORRENT_PASS, look for other programs with a wrong "
            "password, and then restart qBittorrent to lift the ban",
        )
        self._remember(credentials, error, self._BAN_PAUSE)
        return error

    def forget(self) -> None:
        """Start afresh: a login succeeded, or qBittorrent was gone, and its count with it."""
        self._refused = 0
        self._error = None

    def _remember(self, credentials: Credentials, error: SyncError, pause: float | None) -> None:
        self._tried = credentials
        self._error = error
        self._next_try = None if pause is None else self._clock.monotonic() + pause


class QBittorrent:
    """qBittorrent's WebUI, 4.5 to 5.3: authenticated as needed, a session kept and renewed.

    `credentials` and `api_key` give the secrets, anew each time they are needed; with an API key
    (5.2 and later) there is no login and no session. Every method raises `SyncError`.
    """

    def __init__(
        self,
        http: HttpClient,
        credentials: Callable[[], Credentials],
        api_key: Callable[[], str],
        limit: LoginLimit,
    ) -> None:
        self._http = http
        self._credentials = credentials
        self._api_key = api_key
        self._limit = limit
        self._cookies: dict[str, str] = {}
        self._logged_in = False
        self._where = f"{http.service.name} at {http.service.url}"

    @property
    def authentication(self) -> Authentication:
        """What it took to be let in, once a call has succeeded."""
        if self._api_key():
            return Authentication.API_KEY
        return Authentication.PASSWORD if self._logged_in else Authentication.BYPASS

    def version(self) -> str:
        """Read its version (`app/version`), such as `5.1.0`."""
        with self._call("GET", "/api/v2/app/version") as answer:
            return self._read_version(answer)

    def preferences(self) -> Preferences:
        """Read the preferences (`app/preferences`)."""
        with self._call("GET", "/api/v2/app/preferences") as answer:
            return self._read_preferences(answer)

    def connection_status(self) -> ConnectionStatus | None:
        """Read the connection status (`transfer/info`); None for one that is not known here."""
        with self._call("GET", "/api/v2/transfer/info") as answer:
            return self._read_connection_status(answer)

    def set_listen_port(self, port: int) -> None:
        """Set the listening port, and turn off what a forwarded port can't have beside it.

        The answer tells nothing (200 to almost anything): only reading back does. An unchanged
        port does nothing. Raises ValueError for what is no port: qBittorrent would store 0 as
        "a random port" and 65536 as it is, and then listen on no socket.
        """
        if not 1 <= port <= 65535:
            raise ValueError(f"{port} is no port")
        wanted = {"listen_port": port, "random_port": False, "upnp": False}
        with self._call("POST", "/api/v2/app/setPreferences", {"json": json.dumps(wanted)}):
            return  # any answer of 2xx is as good

    def last_log_id(self) -> int:
        """The id of the last critical entry in qBittorrent's log; -1 where it has none."""
        return max((number for number, _ in self._critical_entries(-1)), default=-1)

    def listen_failures(self, port: int, after: int) -> list[ListenFailure]:
        """The addresses on which it could not listen on `port`, by its log after an entry's id.

        It has an entry for each, whose words are localised, but `TCP/51500` and the address
        stand in it.
        """
        return [
            ListenFailure(address, message)
            for _, message in self._critical_entries(after)
            if f"TCP/{port}" in re.findall(r"\bTCP/[0-9]+\b", message)
            for address in _addresses(message)
        ]

    def log_out(self) -> None:
        """End the session, if there is one: since 5.3, a 16th drops the oldest of all users."""
        if self._cookies:
            with self._send("POST", "/api/v2/auth/logout", headers=self._session):
                self._cookies = {}

    def _critical_entries(self, after: int) -> list[tuple[int, str]]:
        levels = "normal=false&info=false&warning=false&critical=true"
        path = f"/api/v2/log/main?{levels}&last_known_id={after}"
        with self._call("GET", path) as answer:
            return self._read_entries(answer)

    def _read_entries(self, response: Response) -> list[tuple[int, str]]:
        entries = self._http.json_array(response)
        return [
            (number, message)
            for entry in entries
            if isinstance(entry, dict)
            and type(number := entry.get("id")) is int
            and isinstance(message := entry.get("message"), str)
        ]

    def _read_version(self, response: Response) -> str:
        if not (version := re.fullmatch(rb"v(\d[\w.+-]{0,30})", response.body.strip())):
            raise self._http.error(ErrorKind.INVALID_RESPONSE, "answered with no version")
        return version[1].decode()

    def _read_preferences(self, response: Response) -> Preferences:
        answer = self._http.json_object(response)
        port, interface = answer.get("listen_port"), answer.get("current_network_interface", "")
        if type(port) is not int or not isinstance(interface, str):
            raise self._http.error(
                ErrorKind.INVALID_RESPONSE, "answered preferences without a listen_port"
            )
        return Preferences(
            listen_port=port,
            random_port=answer.get("random_port") is True,
            upnp=answer.get("upnp") is True,
            interface=interface,
        )

    def _read_connection_status(self, response: Response) -> ConnectionStatus | None:
        status = self._http.json_object(response).get("connection_status")
        return next((known for known in ConnectionStatus if known == status), None)

    @contextlib.contextmanager
    def _call(
        self, method: str, path: str, form: Mapping[str, str] | None = None
    ) -> Iterator[Response]:
        """Send an authenticated request; a session that is missing or expired is renewed, once."""
        if api_key := self._api_key():
            bearer = {"Authorization": b"Bearer " + api_key.encode()}
            with self._send(method, path, headers=bearer, form=form) as answer:
                self._judge(answer, _REFUSED_KEY)
                yield answer
            return
        try:
            with self._send(method, path, headers=self._session, form=form) as answer:
                self._judge(answer, None)
                yield answer
            return
        except _NoSessionError:
            self._log_in()
        with self._send(method, path, headers=self._session, form=form) as answer:
            self._judge(answer, _REFUSED_SESSION)
            yield answer

    @property
    def _session(self) -> Mapping[str, bytes]:
        """The header that carries the session: SID to 5.1, QBT_SID_<port> since 5.2."""
        cookies = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        return {"Cookie": cookies.encode()} if cookies else {}

    def _log_in(self) -> None:
        """Open a new session, unless that could bring a ban.

        Sent without the old session's cookie, with which any password would do.
        """
        credentials = self._credentials()
        self._limit.check(credentials)
        form = {"username": credentials.user, "password": credentials.password}
        self._cookies = {}
        with self._send("POST", "/api/v2/auth/login", form=form, operation=LOGIN) as answer:
            self._read_login(credentials, answer)
        self._logged_in = True
        self._limit.forget()

    def _read_login(self, credentials: Credentials, response: Response) -> None:
        """Read a login's answer, and keep its session.

        Right is 200 `Ok.` to 5.1, 204 since 5.2; wrong is 200 `Fails.`, or 401. The Host header
        was not refused just before, so that a 401 here is about the password.
        """
        body = response.body.strip()
        if response.status == 403:
            raise self._limit.banned(credentials, self._where)
        if response.status == 401 or (response.ok and body == b"Fails."):
            raise self._limit.refused(credentials, self._where)
        if not response.ok:
            raise self._http.error(ErrorKind.HTTP_STATUS, f"answered {response.status} to a login")
        if body not in (b"Ok.", b""):
            raise self._http.error(ErrorKind.INVALID_RESPONSE, "answered a login with another page")
        self._keep_cookies(response)

    def _keep_cookies(self, response: Response) -> None:
        """Keep what carries the session, and no more than a proxy could have a use for beside."""
        kept = self._cookies | dict(response.cookies)
        self._cookies = dict([*kept.items()][-_MOST_COOKIES:])

    def _judge(self, response: Response, forbidden: str | None) -> None:
        """Judge an answer's status before it is read; `forbidden` is what a 403 means here."""
        if response.status == 401:
            raise self._unauthorized(
                "refused the Host header; add the name in QBITTORRENT_HOST to its server domains "
                "(Options > Web UI, WebUI\\ServerDomains), and where a port is mapped, as in "
                "8081:8080, make both ports the same"
            )
        if response.status == 403:
            if forbidden is None:
                raise _NoSessionError
            raise self._unauthorized(forbidden)
        if not response.ok:
            raise self._http.error(ErrorKind.HTTP_STATUS, f"answered {response.status}")
        # Where no login is needed, each call without a session opens one.
        self._keep_cookies(response)

    def _unauthorized(self, problem: str) -> ServiceError:
        return ServiceError(
            Reason.QBITTORRENT_UNAUTHORIZED, ErrorKind.UNAUTHORIZED, f"{self._where} {problem}"
        )

    @contextlib.contextmanager
    def _send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, bytes] | None = None,
        form: Mapping[str, str] | None = None,
        operation: str | None = None,
    ) -> Iterator[Response]:
        try:
            with self._http.exchange(
                method, path, operation=operation, headers=headers, form=form
            ) as answer:
                yield answer
        except ServiceError as error:
            if error.gone:  # and with it its count of failed logins
                self._limit.forget()
            raise


def qbittorrent_service(url: str, verify: bool | str = True) -> Service:
    """Describe the WebUI at a URL; `verify` is whether, or by which CA bundle, to verify it."""
    return Service(
        label="qbittorrent",
        name="qBittorrent",
        url=url,
        unreachable=Reason.QBITTORRENT_UNREACHABLE,
        invalid_response=Reason.QBITTORRENT_INVALID_RESPONSE,
        verify=verify,
    )


def _addresses(message: str) -> Iterator[IPv4Address | IPv6Address]:
    for word in re.findall(r"[0-9A-Fa-f]*[.:][0-9A-Fa-f.:]+", message):
        with contextlib.suppress(ValueError):
            yield ip_address(word)


class _NoSessionError(Exception):
    """qBittorrent answered 403: there is no session, or it expired. Not a failure: log in."""


_REFUSED_KEY = (
    "refused the API key; correct QBITTORRENT_API_KEY (Options > Web UI > API key, qBittorrent "
    "5.2 and later), or unset it to log in with QBITTORRENT_USER and QBITTORRENT_PASS"
)
_REFUSED_SESSION = (
    "took the login and refuses its session; check that no proxy between removes cookies"
)
