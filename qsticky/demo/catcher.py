"""Catches what the demonstration's daemon notifies, and says in its log what a phone would show."""

import json
import logging

from qsticky.demo.simulator import Request, Response, Simulator


class Catcher(Simulator):
    """A webhook on loopback, for an address of Apprise's `json://`; a context manager."""

    def __init__(self) -> None:
        super().__init__(0, "127.0.0.1")
        self._logger = logging.getLogger("demo")

    @property
    def address(self) -> str:
        """What NOTIFY_URLS is to be."""
        return f"json://{self.host}:{self.port}/"

    def answer(self, request: Request) -> Response:
        """Take a notification."""
        told = json.loads(request.body)
        self._logger.info("A notification: %s. %s", told["title"], told["message"])
        return Response(200)
