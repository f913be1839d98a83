"""A session at qBittorrent's WebUI: opened as needed, kept, renewed, and never banned for it."""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping

from qsticky.errors import ErrorKind, Reason, ServiceError
from qsticky.services import host_header, words
from qsticky.services.http import LARGEST_ANSWER, HttpClient, Response
from qsticky.services.login_limit import Credentials, LoginLimit

LOGIN = "login"
_LOGIN_PATIENCE = 60.0
_LONGEST_COOKIE = 1024
_SESSION = re.compile(r"SID|QBT_SID_[0-9]{1,5}")  # to 5.1, and since 5.2
_FORGET_COOKIES = (400, 401, 403, 431)


class WebUI:
    """Authenticated calls, each a `with`, which raise `SyncError`.

    `credentials` and `api_key` give the secrets, anew each time they are needed; with an API key
    (5.2 and later) there is no login and no session. `before_login` is called just before a login
    is sent, with the seconds that it may take.

    `sockets_may_differ` is another number whenever another process may answer, with other sockets:
    nobody was there, a session was lost, or a new one came without a login.
    """

    def __init__(
        self,
        http: HttpClient,
        credentials: Callable[[], Credentials],
        api_key: Callable[[], str],
        limit: LoginLimit,
        before_login: Callable[[float], object] = lambda _: None,
    ) -> None:
        self.http = http
        self.sockets_may_differ = 0
        self._credentials = credentials
        self._api_key = api_key
        self._limit = limit
        self._before_login = before_login
        self._cookies: dict[str, str] = {}
        self._behind_proxy = False

    @contextlib.contextmanager
    def call(
        self,
        method: str,
        path: str,
        *,
        form: Mapping[str, str] | None = None,
        limit: int = LARGEST_ANSWER,
    ) -> Iterator[Response]:
        """Send a request; a session that is missing or expired is renewed, once."""
        try:
            for logged_in in (False, True):
                headers = self._authorization()
                with self.http.exchange(
                    method, path, headers=headers, form=form, limit=limit
                ) as answer:
                    self._behind_proxy |= answer.by_proxy
                    if logged_in or not self._misses_session(answer):
                        self._judge(answer)
                        yield answer
                        return
                self.sockets_may_differ += bool(self._cookies)
                self._log_in()
        except ServiceError as error:
            self.sockets_may_differ += error.absent
            raise

    def log_out(self) -> None:
        """End the session, if there is one: since 5.3, a 16th drops the oldest of all users."""
        if self._cookies:
            headers = self._authorization()
            with self.http.exchange("POST", "/api/v2/auth/logout", headers=headers):
                self._cookies = {}

    def restart_proved(self) -> None:
        """Have the logins count afresh: the kernel proved that qBittorrent restarted.

        Not where its answers name a `Server` or came `Via` another: the socket is a proxy's then.
        """
        if not self._behind_proxy:
            self._limit.begin_anew()

    def _authorization(self) -> Mapping[str, bytes]:
        if api_key := self._api_key():
            return {"Authorization": b"Bearer " + api_key.encode()}
        cookies = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        return {"Cookie": cookies.encode()} if cookies else {}

    def _misses_session(self, answer: Response) -> bool:
        return words.is_forbidden(answer) and not self._api_key()

    def _judge(self, answer: Response) -> None:
        """Raise unless it let us in; a session that it misses was opened just before."""
        if answer.status in _FORGET_COOKIES:
            self._cookies = {}
        if words.is_unauthorized(answer):
            proxied = self._behind_proxy
            raise self._refused(host_header.PROXIED if proxied else host_header.refusal(self.http))
        if self._misses_session(answer):
            raise self._refused(_REFUSED_SESSION, kind=ErrorKind.INVALID_RESPONSE)
        if words.is_forbidden(answer):
            raise self._refused(_REFUSED_KEY)
        self._expect_success(answer)
        self._keep_session(answer)

    def _keep_session(self, answer: Response) -> None:
        """Keep a session that comes without a login: where none is needed, a call opens one."""
        session = {
            name: value for name, value in answer.cookies.items() if _SESSION.fullmatch(name)
        }
        if session and session.items() - self._cookies.items():
            self._cookies = _bounded(session)
            self.sockets_may_differ += 1

    def _log_in(self) -> None:
        """Open a new session, unless that could bring a ban.

        Sent without the old session's cookie, with which any password would do, and never twice.
        """
        self._cookies = {}
        credentials = self._credentials()
        self._limit.check(credentials)
        patience = max(_LOGIN_PATIENCE, self.http.timeout)
        self._before_login(self.http.timeout + patience)
        self._limit.sending(credentials)
        try:
            with self.http.exchange(
                "POST",
                "/api/v2/auth/login",
                operation=LOGIN,
                form={"username": credentials.user, "password": credentials.password},
                patience=patience,
            ) as answer:
                self._judge_login(answer)
        except ServiceError as error:
            raise self._limit.failed(error) from None
        self._limit.begin_anew()
        self._cookies = _bounded(answer.cookies)

    def _judge_login(self, answer: Response) -> None:
        verdict = words.login_verdict(answer)
        if verdict is words.LoginVerdict.REFUSED:
            raise self._refused(_REFUSED_LOGIN)
        if verdict is words.LoginVerdict.BANNED:
            raise self._refused(_BANNED, Reason.QBITTORRENT_BANNED)
        self._expect_success(answer, " to a login")
        if verdict is not words.LoginVerdict.ACCEPTED:
            problem = "answered a login with another page"
            raise self.http.error(ErrorKind.INVALID_RESPONSE, problem)

    def _expect_success(self, answer: Response, to: str = "") -> None:
        """Raise for any other status; a refusal is not in qBittorrent's words."""
        if answer.status in (401, 403):
            reason = self.http.service.invalid_response
            raise self._refused(words.foreign(answer), reason, ErrorKind.INVALID_RESPONSE)
        if not answer.ok:
            raise self.http.unexpected_status(answer, to)

    def _refused(
        self,
        problem: str,
        reason: Reason = Reason.QBITTORRENT_UNAUTHORIZED,
        kind: ErrorKind = ErrorKind.UNAUTHORIZED,
    ) -> ServiceError:
        return ServiceError(reason, kind, f"{self.http.service.where} {problem}")


def _bounded(cookies: Mapping[str, str]) -> dict[str, str]:
    """Leave out what no session needs: a proxy's cookies can be of any length."""
    return {n: v for n, v in cookies.items() if len(n) + len(v) < _LONGEST_COOKIE}


_REFUSED_KEY = (
    "refused the API key; correct QBITTORRENT_API_KEY (Options > Web UI > API key, qBittorrent "
    "5.2 and later), or unset it to log in with QBITTORRENT_USER and QBITTORRENT_PASS"
)
_REFUSED_SESSION = (
    "took the login and refuses its session; check that no proxy between removes cookies"
)
_REFUSED_LOGIN = (
    "refused the user name or the password; correct QBITTORRENT_USER and QBITTORRENT_PASS"
)
_BANNED = (
    "has banned this address after too many failed logins; correct QBITTORRENT_USER and "
    "QBITTORRENT_PASS, look for other programs with a wrong password, and then restart "
    "qBittorrent to lift the ban, or wait for an hour"
)
