"""Sends messages to the addresses of NOTIFY_URLS."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qsticky import notify_urls
from qsticky.config import Notice
from qsticky.record import bounds
from qsticky.record.messages import Message

if TYPE_CHECKING:
    from apprise import NotifyBase

_SEVERITIES: Mapping[str, str] = {
    Notice.FAILING: "failure",
    Notice.RECOVERED: "success",
    Notice.VPN_RESTARTED: "warning",
}


class Address:
    """One address: `label` is how people are told of it."""

    def __init__(self, label: str, service: "NotifyBase") -> None:
        self.label = label
        self._service = service
        # Those that people put into a `json://` address of theirs, as in `?:name=value`.
        self._own_fields: Mapping[str, object] = dict(getattr(service, "payload_extras", {}))

    def send(self, message: Message) -> bool:
        """Send a message and tell whether it was taken.

        Raises whatever Apprise does. Its text may have the address in it: never print it.
        """
        from apprise.plugins.custom_json import NotifyJSON

        service = self._service
        if isinstance(service, NotifyJSON):
            service.payload_extras = {**message.facts, **self._own_fields}
        # The service's own method: Apprise's sends from a pool whose threads hold up an exit.
        taken = service.notify(
            title=message.title,
            body=message.body,
            notify_type=_SEVERITIES.get(message.occasion, "info"),
            body_format="text",
        )
        return bool(taken)


def parse(urls: str) -> tuple[Address, ...]:
    """Make the addresses of NOTIFY_URLS; raises a `Mistake` as `notify_urls.services` does."""
    bounds.impose()
    return tuple(Address(label, service) for label, service in notify_urls.services(urls))
