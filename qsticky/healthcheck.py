"""Reads the health file and gives its verdict, for Docker's HEALTHCHECK.

Run every few seconds on small machines: it imports nothing that it does not need.
"""

import io
import json
import os
import sys
from datetime import UTC, datetime, timedelta

TYPE_CHECKING = False  # `typing` is more than is needed, and so is `collections.abc`
if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_HEALTH_FILE = "/tmp/health/status.json"
_LARGEST_DOCUMENT = 1 << 16
# Seconds: a login's bound, the writer's slack, and a minute by which two clocks may differ.
_LOGIN, _SLACK, _CLOCKS_DIFFER = 60.0, 5.0, 60.0


def main(environ: "Mapping[str, str]") -> int:
    """Print the verdict on the file that HEALTH_FILE names; 0 when healthy, else 1."""
    path = environ.get("HEALTH_FILE", "").strip() or DEFAULT_HEALTH_FILE
    check_interval = _seconds(environ, "CHECK_INTERVAL", 30.0)
    longest = longest_validity(check_interval, _seconds(environ, "REQUEST_TIMEOUT", 10.0))
    problem = unhealthy(path, datetime.now(UTC), longest)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    print(f"unhealthy: {problem}" if problem else "healthy")
    return 1 if problem else 0


def longest_validity(check_interval: float, request_timeout: float) -> timedelta:
    """Return how far ahead a daemon with these variables can set `stale_after`, and a minute."""
    request = max(_LOGIN, request_timeout)
    return timedelta(seconds=check_interval + request + _SLACK + _CLOCKS_DIFFER)


def _seconds(environ: "Mapping[str, str]", name: str, default: float) -> float:
    """Read a duration; a wrong one, with which no daemon starts, counts as the default."""
    try:
        seconds = float(environ.get(name, ""))
    except ValueError:
        return default
    return seconds if 0 < seconds <= 86400 else default


def unhealthy(path: str, now: datetime, longest: timedelta) -> str | None:
    """Tell in one line why the health file at `path` says unhealthy; None when it says healthy.

    A `stale_after` that is further ahead than `longest` was written by another clock.
    """
    try:
        # Not blocking: a FIFO in its place would hold the reader until somebody writes.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as f:
            document = json.loads(f.read(_LARGEST_DOCUMENT) or b"")
        stale_after = datetime.fromisoformat(document["stale_after"])
        healthy, status = document["healthy"], document["status"]
        stale, too_far = now > stale_after, stale_after > now + longest
    except FileNotFoundError:
        return f"no health file at {path}; is the daemon running, with the same HEALTH_FILE?"
    except OSError as error:
        return f"the health file {path} can't be read: {error.strerror}"
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return f"the health file {path} is not one that qSticky wrote"
    if stale:
        return f"the health file is stale since {document['stale_after']}; the daemon hangs or died"
    if too_far:
        return (
            f"the health file says that it is valid until {document['stale_after']}, which is too "
            "far ahead: the clock was set back, or CHECK_INTERVAL and REQUEST_TIMEOUT are not the "
            "daemon's; set them here too, or restart qSticky"
        )
    if healthy is not True:
        from qsticky.text import printable

        reason = document.get("reason")
        sentence = document.get("last_error") or "no sync has succeeded yet"
        return printable(" ".join(f"{reason or status}: {sentence}".split()))
    return None
