"""Reads the health file and gives its verdict, for Docker's HEALTHCHECK.

Run every few seconds on small machines: it imports nothing that it does not need.
"""

import json
import os
from datetime import UTC, datetime

DEFAULT_HEALTH_FILE = "/tmp/health/status.json"


def main() -> int:
    """Print the verdict on the file that HEALTH_FILE names; 0 when healthy, else 1."""
    path = os.environ.get("HEALTH_FILE", "").strip() or DEFAULT_HEALTH_FILE
    problem = unhealthy(path, datetime.now(UTC))
    print(f"unhealthy: {problem}" if problem else "healthy")
    return 1 if problem else 0


def unhealthy(path: str, now: datetime) -> str | None:
    """Tell in one line why the health file at `path` says unhealthy; None when it says healthy."""
    try:
        # Not blocking: a FIFO in its place would hold the reader until somebody writes.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as f:
            document = json.loads(f.read() or b"")
        stale_after = datetime.fromisoformat(document["stale_after"])
        healthy, status = document["healthy"], document["status"]
        stale = now > stale_after
    except FileNotFoundError:
        return f"no health file at {path}; is the daemon running, with the same HEALTH_FILE?"
    except OSError as error:
        return f"the health file {path} can't be read: {error.strerror}"
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"the health file {path} is not one that qSticky wrote"
    if stale:
        return f"the health file is stale since {document['stale_after']}; the daemon hangs or died"
    if healthy is not True:
        reason = document.get("reason")
        sentence = document.get("last_error") or "no sync has succeeded yet"
        return " ".join(f"{reason or status}: {sentence}".split())
    return None
