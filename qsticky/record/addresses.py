"""The addresses of NOTIFY_URLS, as Apprise understands them.

An address is a secret: it is told by its number, and its scheme where it has one. Apprise costs
16 MiB, so it is imported only once there is an address.
"""

import contextlib
import importlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from qsticky import HOME
from qsticky.errors import ConfigurationError
from qsticky.record import bounds
from qsticky.record.messages import Message, Occasion

if TYPE_CHECKING:
    from apprise import AppriseAsset, NotifyBase

_SCHEME = re.compile(r"([a-z0-9]{1,20})://", re.IGNORECASE)
_SEVERITIES = {
    Occasion.FAILING: "failure",
    Occasion.RECOVERED: "success",
    Occasion.VPN_RESTARTED: "warning",
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
    """Make the addresses of NOTIFY_URLS, which blanks and line breaks separate.

    Raises `ConfigurationError` with each address that no service is known for, and where qSticky
    was installed without Apprise.
    """
    if not urls.split():
        return ()
    try:
        import apprise  # noqa: F401 - here it is only looked for
    except ImportError:
        raise ConfigurationError(
            ["NOTIFY_URLS: Apprise is not installed; install it: pip install 'qsticky[notify]'"]
        ) from None
    bounds.impose()
    asset = _asset()
    addresses, mistakes = [], []
    for number, url in enumerate(urls.split(), 1):
        label = _label(number, url)
        service = _service(url, asset)
        if service is None:
            mistakes.append(
                f"NOTIFY_URLS: {label} is not one that Apprise can send to; write it as "
                "docs/notify.md shows for its service"
            )
        else:
            addresses.append(Address(label, service))
    if mistakes:
        raise ConfigurationError(mistakes)
    return tuple(addresses)


def _label(number: int, url: str) -> str:
    scheme = _SCHEME.match(url)
    return f"address {number} ({scheme[1].lower()})" if scheme else f"address {number}"


def _service(url: str, asset: "AppriseAsset") -> "NotifyBase | None":
    """Make an address's service; None where there is none for it.

    To know their schemes, Apprise imports all of its services, which are 11 MiB. Here only those
    are imported that have the scheme in their source; where that leads to none, Apprise may look.
    """
    from apprise import Apprise

    url = url.replace("/#", "/%23")  # of a room or a channel, as Apprise does
    for kind in _kinds(url):
        with contextlib.suppress(Exception):  # about the address, which Apprise then judges
            fields = kind.parse_url(url) or {}
            service = kind(**fields, asset=asset)
            if service.enabled:
                return service
    return Apprise.instantiate(url, asset=asset)


def _kinds(url: str) -> "Iterator[type[NotifyBase]]":
    """Import the modules of Apprise that have an address's scheme, and yield its services."""
    from apprise import NotifyBase, plugins
    from apprise.utils.parse import parse_list

    found = _SCHEME.match(url)
    scheme = found[1].lower() if found else ""
    has_scheme = re.compile(rf'protocol = [^=]*"{scheme}"')
    folder = Path(plugins.__file__).parent
    for file in folder.rglob("*.py"):
        if has_scheme.search(file.read_text("utf-8")):
            name = ".".join([plugins.__name__, *file.relative_to(folder).with_suffix("").parts])
            for kind in vars(importlib.import_module(name)).values():
                if isinstance(kind, type) and issubclass(kind, NotifyBase):
                    schemes = parse_list(  # type: ignore[no-untyped-call]
                        kind.protocol, kind.secure_protocol
                    )
                    if scheme in schemes:
                        yield kind


def _asset() -> "AppriseAsset":
    """Make Apprise's settings: our name, nothing stored or generated, no threads, no redirects."""
    from apprise import AppriseAsset, PersistentStoreMode

    return AppriseAsset(
        app_id="qSticky",
        app_desc="qSticky",
        app_url=HOME,
        image_url_mask="",
        image_url_logo="",
        image_path_mask=False,
        async_mode=False,
        http_redirects=False,
        pgp_autogen=False,
        pem_autogen=False,
        storage_mode=PersistentStoreMode.MEMORY,
    )
