"""The small page at `/`: the state at a glance, for people."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from qsticky import HOME
from qsticky.clock import in_words, rfc3339
from qsticky.errors import Reason
from qsticky.record.journal import RecentEvent
from qsticky.sync.report import Status

_STYLE = "\n" + Path(__file__).with_name("page.css").read_text()
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)

_TROUBLESHOOTING = f"{HOME}/blob/main/docs/troubleshooting.md"
_LOOKS = {"synced": "good", "failing": "bad", "waiting": "wait", "starting": "wait"}
_COLOURS = {"good": "#1a7f37", "bad": "#c21c27", "wait": "#8a5a00"}
_PATHS = {
    "good": "M4 13l5 5L20 6",
    "bad": "M6 6l12 12M18 6L6 18",
    "wait": "M5 12h0M12 12h0M19 12h0",
}
_SVG = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24' fill='none' stroke-width='3' "
    "stroke-linecap='round' stroke-linejoin='round' stroke='#fff' width='40' height='40' "
    "aria-hidden='true'>"
)
_HEADLINES = {
    "starting": "Starting",
    "synced": "In sync",
    "waiting": "Waiting for Gluetun to forward a port",
    "failing": "Not in sync",
}
_HANGS = (
    "qSticky's worker has given no sign of life for too long, and what stands here is as old as "
    "its last check. Restart qSticky, and report this with its log."
)
_STATUSES = {
    None: "not known",
    "connected": "connected: peers have come in",
    "firewalled": "firewalled: no peer has come in yet",
    "disconnected": "disconnected: qBittorrent has no socket at all",
}


def render(
    document: Mapping[str, Any], events: Sequence[RecentEvent], *, now: float, fresh: bool
) -> str:
    """Make the page from the health document and the last events, the newest first.

    `now` is seconds since the epoch; `fresh` tells whether the document can still be trusted. The
    page loads nothing from anywhere, and refreshes itself every 5 seconds.
    """
    hangs = not fresh and document["stale_after"] is not None
    headline = "The worker hangs" if hangs else _headline(document)
    looks = "bad" if hangs else _LOOKS[document["status"]]
    on_port = f": {document['current_port']}" if looks == "good" else ""
    last_sign = document["last_check"] or document["started_at"]
    since = last_sign if hangs else document["status_since"]
    over = document["healthy"] and document["services"]["gluetun"]["connected"]
    icon = f"{_SVG}<rect width='24' height='24' rx='5' fill='{_COLOURS[looks]}' stroke='none'/>"
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="5">
<title>{escape(headline)}{on_port} - qSticky</title>
<link rel="icon" href="data:image/svg+xml,{quote(f"{icon}<path d='{_PATHS[looks]}'/></svg>")}">
<style>{_STYLE}</style>
<header><p><b>qSticky</b> <small>{escape(document["version"])}</small></p>
<p><small>as of {_utc(now)}</small></p></header>
<main>
<section class="state {looks}">
{_SVG}<path d="{_PATHS[looks]}"/></svg>
<div><h1>{escape(headline)}</h1><p>for {_time(since, now, "{}")}</p></div>
</section>
{_section("What to do", f"<p>{_HANGS}</p>", "now") if hangs else ""}
{"" if over else _last_error(document, now, over)}
{_ports(document)}
{_details(document, now)}
{_last_error(document, now, over) if over else ""}
{_events(events, now)}
</main>
<nav aria-label="More"><a href="metrics">Metrics</a><a href="-/ready">Health</a>
<a href="{HOME}#readme">Documentation</a><a href="{_TROUBLESHOOTING}">Troubleshooting</a></nav>
</html>
"""


def _headline(document: Mapping[str, Any]) -> str:
    if document["reason"] == Reason.NOT_LISTENING:
        return "Not listening"
    services = document["services"]
    if document["status"] == Status.SYNCED and services["qbittorrent"]["listening"]:
        return "In sync, and listening"
    if document["status"] == Status.FAILING and not all(s["connected"] for s in services.values()):
        return "Can't check"
    return _HEADLINES[document["status"]]


def _last_error(document: Mapping[str, Any], now: float, over: bool) -> str:
    if not document["last_error"]:
        return ""
    heading = "Last error, which is over" if over else "What is wrong, and what to do"
    sentence = f"<p>{escape(document['last_error'])}</p>\n"
    when = f"<p><small>{_time(document['last_error_at'], now)}</small></p>"
    return _section(heading, sentence + when, "" if over else "now")


def _ports(document: Mapping[str, Any]) -> str:
    forwarded, current = document["forwarded_port"], document["current_port"]
    gluetun, qbittorrent = (document["services"][name] for name in ("gluetun", "qbittorrent"))
    from_file = document["healthy"] and not gluetun["connected"]
    known = (gluetun["connected"] or from_file) and qbittorrent["connected"] and forwarded
    sign = "" if not known else "=" if forwarded == current else "≠"
    return f"""<section class="ports">
<p><small>Gluetun forwards</small><b>{_port(forwarded)}</b><small>{
        "from the port file" if from_file else _answers(document, gluetun, forwarded)
    }</small></p>
<span>{sign}</span>
<p><small>qBittorrent has</small><b>{_port(current)}</b><small>{
        _answers(document, qbittorrent, current)
    }</small></p>
</section>"""


def _answers(document: Mapping[str, Any], service: Mapping[str, Any], port: int | None) -> str:
    if service["connected"]:
        return "answers"
    if document["status"] == Status.STARTING:
        return "not asked yet"
    return "no usable answer" if port is None else "no usable answer, last known"


def _details(document: Mapping[str, Any], now: float) -> str:
    qbittorrent = document["services"]["qbittorrent"]
    facts = {
        "Really listening": _listening(document),
        "Connection": escape(_STATUSES[qbittorrent["connection_status"]]),
        "Port changed": _time(document["last_port_change"], now),
        "Last success": _time(document["last_success"], now),
        "Last check": _time(document["last_check"], now),
        "Running": f"for {_time(document['started_at'], now, '{}')}",
    }
    rows = "\n".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts.items())
    return _section("Details", f"<dl>\n{rows}\n</dl>")


def _listening(document: Mapping[str, Any]) -> str:
    qbittorrent = document["services"]["qbittorrent"]
    if qbittorrent["listening"] is not None:
        return "yes, on the VPN's interface" if qbittorrent["listening"] else "no"
    if not qbittorrent["connected"]:
        return "not known while qBittorrent gives no answer"
    return "can't be seen from here: that takes one network with the VPN and qBittorrent"


def _events(events: Sequence[RecentEvent], now: float) -> str:
    if not events:
        return _section("Last events", "<p>None yet</p>")
    items = "\n".join(
        f"<li>{_time(rfc3339(event.at), now)}"
        f"{'' if event.level == 'info' else f'<b>{event.level}</b> '}{escape(event.message)}</li>"
        for event in events
    )
    return _section("Last events", f"<ol>\n{items}\n</ol>")


def _section(heading: str, content: str, kind: str = "") -> str:
    return f'<section class="{kind}">\n<h2>{heading}</h2>\n{content}\n</section>'


def _port(port: int | None) -> str:
    return "?" if port is None else str(port) if port else "none"


def _time(moment: str | None, now: float, words: str = "{} ago") -> str:
    """Write a moment as people say it, and exactly for those who point at it."""
    if moment is None:
        return "never"
    at = datetime.fromisoformat(moment).timestamp()
    return f'<time datetime="{moment}" title="{_utc(at)}">{words.format(in_words(now - at))}</time>'


def _utc(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"
