"""What the page says at a glance: whether peers can connect, by what it is known, what to do."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from qsticky.errors import Reason
from qsticky.sync.report import ListeningBy, Status

_FAILURES = {
    Reason.GLUETUN_UNREACHABLE: "Gluetun doesn't answer",
    Reason.GLUETUN_UNAUTHORIZED: "Refused by Gluetun",
    Reason.GLUETUN_INVALID_RESPONSE: "Gluetun's answer can't be used",
    Reason.NO_FORWARDED_PORT: "No forwarded port",
    Reason.QBITTORRENT_UNREACHABLE: "qBittorrent doesn't answer",
    Reason.QBITTORRENT_UNAUTHORIZED: "Refused by qBittorrent",
    Reason.QBITTORRENT_BANNED: "Banned by qBittorrent",
    Reason.QBITTORRENT_INVALID_RESPONSE: "qBittorrent's answer can't be used",
    Reason.PORT_REJECTED: "qBittorrent doesn't keep the port",
    Reason.NOT_LISTENING: "Peers can't connect: not listening",
    Reason.PORT_CLOSED: "Peers can't connect: closed from outside",
    Reason.INTERNAL: "Internal error",
}
_PASSWORD = "user name or the password"  # in qBittorrent's refusals, which have other causes too
_KNOWN_BY = {
    (True, ListeningBy.KERNEL): "The kernel shows its socket on the VPN's address",
    (True, ListeningBy.QBITTORRENT): (
        "qBittorrent logged that it opened the port; a VPN restart since can't be seen from here"
    ),
    (True, ListeningBy.SETTINGS): "Nothing in qBittorrent's settings keeps them out",
    (False, ListeningBy.KERNEL): "The kernel shows no socket on the VPN's address",
    (False, ListeningBy.QBITTORRENT): "qBittorrent logged that it can't open the port",
    (False, ListeningBy.SETTINGS): "A setting of qBittorrent's keeps them out",
}
_HOW_TO_FIND_OUT = (
    "Both ports are the same, but nothing tells whether qBittorrent listens on it. To find out, "
    "see that the VPN is up, that VPN_INTERFACE is its interface's name in qBittorrent's network, "
    "and that QBITTORRENT_REBIND is true; or run qSticky in that network, where PORT_CHECK_URL can "
    "be asked too"
)
_HANGS = (
    "qSticky's worker has given no sign of life for too long, and what stands here is as old as "
    "its last check. Restart qSticky, and report this with its log."
)


class Story(NamedTuple):
    """The state in words. `looks` is `good`, `bad` or `wait`; `since` is when it began, RFC 3339.

    `known_by` says how it is known, or could be; `to_do` what is wrong and what to do about it.
    """

    looks: str
    headline: str
    since: str
    known_by: str | None = None
    to_do: str | None = None


def tell(document: Mapping[str, Any], *, fresh: bool) -> Story:
    """Read the story out of the health document; `fresh` is whether it can still be trusted."""
    since, status = document["status_since"], document["status"]
    if not fresh and document["stale_after"] is not None:
        last_sign = document["last_check"] or document["started_at"]
        return Story("bad", "qSticky hangs", last_sign, to_do=_HANGS)
    if status == Status.STARTING:
        return Story("wait", "Starting", since)
    if status == Status.FAILING:
        known_by = _known_by(document) if document["reason"] == Reason.NOT_LISTENING else None
        return Story("bad", _failure(document), since, known_by, document["last_error"])
    # A port from the file is one for which Gluetun's API could not be asked.
    to_do = (
        document["last_error"] if document["services"]["gluetun"]["connected"] is False else None
    )
    if status == Status.WAITING:
        return Story("wait", "Waiting for a forwarded port", since, to_do=to_do)
    return _of_synced(document, to_do)


def _of_synced(document: Mapping[str, Any], to_do: str | None) -> Story:
    qbittorrent = document["services"]["qbittorrent"]
    known_by = _known_by(document)
    if document["reachable"] is False:
        headline = "Closed from outside, to be asked again"
        return Story("wait", headline, document["reachable_checked_at"], known_by, to_do)
    if qbittorrent["listening"] or qbittorrent["incoming_connections"] or document["reachable"]:
        since = qbittorrent["listening_since"] or document["status_since"]
        return Story("good", "Peers can connect", since, known_by, to_do)
    headline = "Not known whether peers can connect"
    return Story("wait", headline, document["status_since"], _HOW_TO_FIND_OUT, to_do)


def _failure(document: Mapping[str, Any]) -> str:
    reason = document["reason"]
    if reason == Reason.QBITTORRENT_UNAUTHORIZED and _PASSWORD in document["last_error"]:
        return "Password refused"
    return _FAILURES[reason]


def _known_by(document: Mapping[str, Any]) -> str | None:
    """Say by what it is known whether qBittorrent listens."""
    qbittorrent = document["services"]["qbittorrent"]
    return _KNOWN_BY.get((qbittorrent["listening"], qbittorrent["listening_by"]))
