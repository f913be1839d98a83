"""Tells Gluetun to stop and start its VPN: the one thing that is asked of it which changes it."""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum

from qsticky.errors import ErrorKind
from qsticky.services.gluetun_roles import Credential, RoleError, Wrong
from qsticky.services.http import HttpClient, Response

VPN_STATUS = "/v1/vpn/status"
IN_A_ROLE = f"PUT {VPN_STATUS}"
_PATIENCE = 60.0  # stopping waits for Gluetun's down command, starting for the VPN


class VpnStatus(StrEnum):
    """What the VPN can be told to become."""

    STOPPED = "stopped"
    RUNNING = "running"


class VpnControl:
    """The VPN of one Gluetun; from any thread, over a connection of its own for each request.

    `credential` gives what to present, anew for each request.
    """

    def __init__(self, http: HttpClient, credential: Callable[[], Credential]) -> None:
        self._http = http
        self._credential = credential

    def set_status(self, status: VpnStatus) -> str:
        """Tell it to stop or to run, and return what came of it, in Gluetun's words.

        `stopped` and `running` are done, `already …` changed nothing, and `crashed` is a VPN that
        didn't start and that Gluetun tries again to start by itself. Raises `RoleError` where the
        role lacks the route, else `ServiceError`; Gluetun may have done it, or do it later, all
        the same, unless the error's `sent` is False: of what was refused nothing came either.
        """
        with self._put({"status": status}) as answer:
            if answer.status != 200:
                error = self._http.unexpected_status(answer, f" to {IN_A_ROLE}")
                error.sent = answer.status >= 500
                raise error
            outcome = self._http.json_object(answer).get("outcome")
            if not isinstance(outcome, str) or not re.fullmatch("[a-z ]{1,40}", outcome):
                raise self._http.error(
                    ErrorKind.INVALID_RESPONSE, f"answered {IN_A_ROLE} without an outcome"
                )
            return outcome

    def check_permission(self) -> None:
        """Ask whether the role permits it, without changing anything.

        Raises `RoleError` where it doesn't, else `ServiceError`. A status that is none is
        answered 400, by whoever was let in, in every version.
        """
        with self._put({}) as answer:
            if answer.status != 400:
                raise self._http.unexpected_status(answer, f" to {IN_A_ROLE} with no status")

    @contextlib.contextmanager
    def _put(self, body: Mapping[str, str]) -> Iterator[Response]:
        headers = self._credential().headers
        with self._http.exchange(
            "PUT", VPN_STATUS, headers=headers, document=body, patience=_PATIENCE
        ) as answer:
            if answer.status == 401:
                raise RoleError(
                    f"{self._http.service.where} does not permit qSticky to restart the VPN; add "
                    f'"{IN_A_ROLE}" to the routes of the role with qSticky\'s credential, or unset '
                    "GLUETUN_RESTART_AFTER",
                    Wrong.ROUTE,
                )
            yield answer
