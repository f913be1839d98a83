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
from qsticky.record.events import RecentEvent
from qsticky.sync.report import PortSource, Status
from qsticky.web.story import Story, tell


def _beside(name: str) -> str:
    return f"\n{Path(__file__).with_name(name).read_text()}"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_STYLE, _SCRIPT = _beside("page.css"), _beside("page.js")
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_TROUBLESHOOTING = f"{HOME}/blob/main/docs/troubleshooting.md"
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
# A q whose bowl is a port, and whose tail holds on to it.
_MARK = (
    "<svg viewBox='0 0 24 24' fill='none' stroke='currentColor' stroke-width='2.5' "
    "stroke-linecap='round' width='24' height='24' aria-hidden='true'>"
    "<circle cx='10' cy='10' r='7'/><circle cx='10' cy='10' r='1.5'/>"
    "<path d='M17 4v16q0 2 2 2h1'/></svg>"
)
_CONNECTIONS = {
    None: "not known",
    "connected": "connected: a peer came in since the port was opened",
    "firewalled": "firewalled: no peer came in since the port was opened",
    "disconnected": "disconnected: qBittorrent has no socket at all",
}


def render(
    document: Mapping[str, Any], events: Sequence[RecentEvent], *, now: float, fresh: bool
) -> str:
    """Make the page from the health document and the last events, the newest first.

    `now` is seconds since the epoch; `fresh` tells whether the document can still be trusted. The
    page loads nothing from anywhere, and refreshes itself every 5 seconds.
    """
    story = tell(document, fresh=fresh)
    on_port = f": {document['current_port']}" if story.looks == "good" else ""
    icon = (
        f"{_SVG}<rect width='24' height='24' rx='5' fill='{_COLOURS[story.looks]}' stroke='none'/>"
    )
    path = _PATHS[story.looks]
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="5">
<title>{escape(story.headline)}{on_port} - qSticky</title>
<link rel="icon" href="data:image/svg+xml,{quote(f"{icon}<path d='{path}'/></svg>")}">
<style>{_STYLE}</style>
<header><p>{_MARK} <b>qSticky</b> <small>{escape(document["version"])}</small></p>
<p><small>as of {_exactly("clock", rfc3339(now))}</small></p></header>
<main>
<div class="top">
{_state(document, story, now)}
{_to_do(document, story, now)}
{_warnings(document)}
</div>
{_ports(document, now)}
{_events(events, now)}
{_details(document, story, now)}
</main>
<nav aria-label="More"><a href="metrics">Metrics</a><a href="-/ready">Health</a>
<a href="{HOME}#readme">Documentation</a><a href="{_TROUBLESHOOTING}">Troubleshooting</a></nav>
<script>{_SCRIPT}</script>
</html>
"""


def _state(document: Mapping[str, Any], story: Story, now: float) -> str:
    lines = [f"{_time(story.since, now, 'for {}')}, since {_exactly('date', story.since)}"]
    if document["waiting_until"] and story.looks == "wait":
        lines.append(f"That is a failure from {_exactly('clock', document['waiting_until'])} on")
    if story.known_by:
        lines.append(escape(story.known_by))
    if document["reachable"] is not None:
        checked = _time(document["reachable_checked_at"], now)
        lines.append(f"{'Open' if document['reachable'] else 'Closed'} from outside, {checked}")
    if peers := _peers(document, now):
        lines.append(peers)
    paragraphs = "\n".join(f"<p>{line}</p>" for line in lines)
    return f"""<section class="state {story.looks}">
{_SVG}<path d="{_PATHS[story.looks]}"/></svg>
<div><h1>{escape(story.headline)}</h1>
{paragraphs}
</div>
</section>"""


def _peers(document: Mapping[str, Any], now: float) -> str:
    """Say who came in, where that can be seen."""
    qbittorrent = document["services"]["qbittorrent"]
    last, established = qbittorrent["last_incoming_connection"], qbittorrent["incoming_connections"]
    if last is None:
        return "" if established is None else "No peer was seen to come in yet"
    connected = "" if established is None else f", {established} now"
    return f"Last peer came in {_time(last, now)}{connected}"


def _to_do(document: Mapping[str, Any], story: Story, now: float) -> str:
    if not story.to_do:
        return ""
    when = ""
    if story.to_do == document["last_error"]:
        when = f"<p><small>{_time(document['last_error_at'], now)}</small></p>"
    return _section("What is wrong, and what to do", f"<p>{escape(story.to_do)}</p>\n{when}", "now")


def _warnings(document: Mapping[str, Any]) -> str:
    told = "\n".join(f"<p>{escape(warning)}</p>" for warning in document["warnings"])
    return told and _section("Worth mending all the same", told, "warnings")


def _ports(document: Mapping[str, Any], now: float) -> str:
    forwarded, current = document["forwarded_port"], document["current_port"]
    gluetun, qbittorrent = (document["services"][name] for name in ("gluetun", "qbittorrent"))
    from_file = document["healthy"] and gluetun["connected"] is False
    known = (gluetun["connected"] is not False or from_file) and qbittorrent["connected"]
    sign = "" if not (known and forwarded) else "=" if forwarded == current else "≠"
    fixed = document["port_source"] == PortSource.FIXED
    return f"""<section class="ports">
<p><small>{"Fixed port" if fixed else "Gluetun forwards"}</small><b>{_port(forwarded)}</b><small>{
        _source(document)
    }</small></p>
<span>{sign}</span>
<p><small>qBittorrent has</small><b>{_port(current)}</b><small>{
        _answers(document, qbittorrent, current)
    }</small></p>
<p class="ages">{_ages(document, now)}</p>
</section>"""


def _source(document: Mapping[str, Any]) -> str:
    gluetun, forwarded = document["services"]["gluetun"], document["forwarded_port"]
    if document["port_source"] == PortSource.FIXED:
        return "as configured"
    if document["healthy"] and not gluetun["connected"]:
        return "from the port file"
    answers = _answers(document, gluetun, forwarded)
    if (document["port_count"] or 0) > 1:
        return f"{answers}, port {document['port_index']} of {document['port_count']}"
    return answers


def _answers(document: Mapping[str, Any], service: Mapping[str, Any], port: int | None) -> str:
    if service["connected"]:
        return "answers"
    if document["status"] == Status.STARTING:
        return "not asked yet"
    return "no usable answer" if port is None else "no usable answer, last known"


def _ages(document: Mapping[str, Any], now: float) -> str:
    ages = {
        "Checked": _time(document["last_check"], now),
        "Changed": _time(document["last_port_change"], now),
        "In sync": _time(document["last_success"], now),
    }
    if document["status"] == Status.SYNCED:
        ages["In sync"] = _time(document["status_since"], now, "for {}")
    return " ".join(f"<span>{name} <i>{age}</i></span>" for name, age in ages.items())


def _details(document: Mapping[str, Any], story: Story, now: float) -> str:
    qbittorrent = document["services"]["qbittorrent"]
    facts = {
        "Connection": escape(_CONNECTIONS[qbittorrent["connection_status"]]),
        "Address": _address(document),
        "qBittorrent": escape(qbittorrent["version"] or "not known"),
        "Running": _time(document["started_at"], now, "for {}"),
    }
    rows = "\n".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts.items())
    error = ""
    if document["last_error"] and document["last_error"] != story.to_do:
        when = _time(document["last_error_at"], now)
        error = (
            f"\n<dt>Last error, which is over</dt><dd>{when}: {escape(document['last_error'])}</dd>"
        )
    return _section("Details", f"<dl>\n{rows}{error}\n</dl>", "details")


def _address(document: Mapping[str, Any]) -> str:
    """Tell the VPN's public address, and whether peers see qBittorrent there."""
    public = document["services"]["gluetun"]["public_address"]
    external = document["services"]["qbittorrent"]["external_address"]
    if public is None or external is None:
        return escape(public or "not known")
    if public == external:
        return f"{escape(public)}, where peers see qBittorrent too"
    return (
        f"{escape(public)}, but peers saw qBittorrent at {escape(external)}: if that stays, its "
        "traffic leaves beside the VPN"
    )


def _events(events: Sequence[RecentEvent], now: float) -> str:
    if not events:
        return _section("Last events", "<p>None yet</p>", "events")
    items = "\n".join(
        f"<li>{_time(rfc3339(event.at), now)}"
        f"{'' if event.level == 'info' else f'<b>{event.level}</b> '}{escape(event.message)}</li>"
        for event in events
    )
    return _section("Last events", f"<ol>\n{items}\n</ol>", "events")


def _section(heading: str, content: str, kind: str) -> str:
    return f'<section class="{kind}">\n<h2>{heading}</h2>\n{content}\n</section>'


def _port(port: int | None) -> str:
    return "?" if port is None else str(port) if port else "none"


def _time(moment: str | None, now: float, words: str = "{} ago") -> str:
    """Write a moment as people say it, and exactly for those who point at it."""
    if moment is None:
        return "never"
    told = words.format(in_words(now - datetime.fromisoformat(moment).timestamp()))
    return f'<time datetime="{moment}" title="{_utc(moment)}">{told}</time>'


def _exactly(kind: str, moment: str) -> str:
    """Write a `clock` or a `date`: in UTC, unless the page's script tells the reader's own."""
    utc = _utc(moment) if kind == "date" else _utc(moment, "")
    return f'<time class="{kind}" datetime="{moment}">{utc}</time>'


def _utc(moment: str, date: str = "%Y-%m-%d ") -> str:
    return f"{datetime.fromisoformat(moment).astimezone(UTC):{date}%H:%M:%S} UTC"
