"""The addresses of NOTIFY_URLS, as Apprise understands them.

An address is a secret: it is told by its number and its scheme. Apprise is imported only once
there is one.
"""

import contextlib
import functools
import importlib
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from qsticky import HOME
from qsticky.errors import Mistake

if TYPE_CHECKING:
    from apprise import AppriseAsset, NotifyBase

# Blanks, line breaks or commas, as for Apprise.
_BETWEEN = re.compile(r"[\s,]+(?=[a-z0-9]{1,20}://|$)|\s+", re.IGNORECASE)


def services(urls: str) -> "tuple[tuple[str, NotifyBase], ...]":
    """Make the service of each address, with how people are told of it.

    Raises a `Mistake` for the first that no service is known for, and where Apprise is not
    installed.
    """
    addresses = [url for url in _BETWEEN.split(urls) if url]
    if not addresses:
        return ()
    if re.search(r";\s*[a-z0-9]{1,20}://", urls, re.IGNORECASE):
        raise Mistake("has a semicolon between two addresses: put a blank in its place")
    try:
        import apprise  # noqa: F401 - here it is only looked for
    except ImportError:
        raise Mistake(
            "needs Apprise, which is not installed: where qSticky is, pip install "
            "'qsticky[notify]' adds it (by pipx: pipx runpip qsticky install 'qsticky[notify]')"
        ) from None
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # it would tell of addresses
    asset = _asset()
    found = []
    for number, url in enumerate(addresses, 1):
        scheme = _scheme(url)
        service = _service(url, scheme, asset) if scheme else None
        if service is None:
            named = f" ({scheme}://)" if scheme else ", which begins with no scheme"
            raise Mistake(
                f"has an address that Apprise can't use, number {number}{named}: "
                "https://appriseit.com has its services, and how their addresses are written"
            )
        found.append((f"address {number} ({scheme})", service))
    return tuple(found)


def _scheme(url: str) -> str:
    """Return an address's scheme, in lower case; nothing where it has none."""
    found = re.match(r"([a-z0-9]{1,20})://", url, re.IGNORECASE)
    return found[1].lower() if found else ""


def _service(url: str, scheme: str, asset: "AppriseAsset") -> "NotifyBase | None":
    """Make an address's service; None where there is none for it.

    To know their schemes, Apprise imports all of its services, which are 11 MiB. Here only those
    are imported that have the scheme in their source; where that leads to none, Apprise may look.
    """
    from apprise import Apprise

    url = url.replace("/#", "/%23")  # of a room or a channel, as Apprise does
    for kind in _kinds(scheme):
        with contextlib.suppress(Exception):  # about the address, which Apprise then judges
            fields = kind.parse_url(url) or {}
            service = kind(**fields, asset=asset)
            if service.enabled:
                return service
    return Apprise.instantiate(url, asset=asset)


@functools.cache
def _kinds(scheme: str) -> "tuple[type[NotifyBase], ...]":
    """Import the modules of Apprise that have a scheme, and return its services."""
    from apprise import NotifyBase, plugins
    from apprise.utils.parse import parse_list

    has_scheme = re.compile(rf'protocol = [^=]*"{scheme}"')
    folder = Path(plugins.__file__).parent
    kinds = []
    for file in folder.rglob("*.py"):
        if has_scheme.search(file.read_text("utf-8")):
            name = ".".join([plugins.__name__, *file.relative_to(folder).with_suffix("").parts])
            found = vars(importlib.import_module(name)).values()
            kinds += [k for k in found if isinstance(k, type) and issubclass(k, NotifyBase)]
    return tuple(
        kind
        for kind in kinds
        if scheme in parse_list(kind.protocol, kind.secure_protocol)  # type: ignore[no-untyped-call]
    )


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
