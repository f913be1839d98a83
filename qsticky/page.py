"""The small page at `/`: the state at a glance, for people."""

import base64
import hashlib
import html
from collections.abc import Mapping
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --good: #1a7f37; --bad: #cf222e; --wait: #9a6700; }
@media (prefers-color-scheme: dark) { :root { --good: #3fb950; --bad: #f85149; --wait: #d29922; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.25rem; } h1 small { font-weight: normal; opacity: .7; }
.state { font-size: 1.5rem; font-weight: 600; border-left: .4rem solid; padding-left: .8rem; }
.synced { color: var(--good); } .failing { color: var(--bad); }
.waiting, .starting { color: var(--wait); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1rem; }
dt { opacity: .7; } dd { margin: 0; overflow-wrap: anywhere; }
nav a { margin-right: 1rem; }
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

_HEADLINES = {
    "starting": "Starting",
    "synced": "In sync",
    "waiting": "Waiting for Gluetun to forward a port",
    "failing": "Not in sync",
}
_YES_NO = {True: "yes", False: "no", None: "can't be seen from here"}


def render(document: Mapping[str, Any], *, fresh: bool) -> str:
    """Make the page from the health document; `fresh` tells whether that can still be trusted.

    It loads nothing from anywhere, and refreshes itself every 5 seconds.
    """
    status = document["status"] if fresh or document["status"] == "starting" else "failing"
    headline = _HEADLINES[status] if fresh or status == "starting" else "The worker hangs"
    services = document["services"]
    gluetun, qbittorrent = services["gluetun"], services["qbittorrent"]
    facts = {
        "Gluetun's port": _known(document["forwarded_port"] or None),
        "qBittorrent's port": _known(document["current_port"]),
        "Gluetun reachable": _YES_NO[gluetun["connected"]],
        "qBittorrent reachable": _YES_NO[qbittorrent["connected"]],
        "Really listening": _YES_NO[qbittorrent["listening"]],
        "Connection status": _known(qbittorrent["connection_status"]),
        "Last change": _known(document["last_port_change"]),
        "Last success": _known(document["last_success"]),
        "Last check": _known(document["last_check"]),
        "Last error": _known(document["last_error"]),
        "at": _known(document["last_error_at"]),
    }
    rows = "\n".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>"
        for name, value in facts.items()
    )
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="5">
<title>qSticky: {html.escape(headline)}</title>
<style>{_STYLE}</style>
<h1>qSticky <small>{html.escape(document["version"])}</small></h1>
<p class="state {html.escape(status)}">{html.escape(headline)}</p>
<dl>
{rows}
</dl>
<nav><a href="metrics">Metrics</a> <a href="-/ready">Health</a></nav>
</html>
"""


def _known(value: object) -> str:
    return "-" if value is None else str(value)
