"""`qsticky notify`: sends a test message, and tells which addresses took it."""

import sys

from qsticky import HOME
from qsticky.clock import SystemClock
from qsticky.record import addresses, messages
from qsticky.record.delivery import Attempt

_HOW = f"{HOME}/blob/main/docs/notify.md"


def main(urls: str) -> int:
    """Send a test message to the addresses of NOTIFY_URLS, and print what each made of it.

    Returns the exit code: 0 when all took it, 1 when one did not, 2 when there are none. Raises a
    `Mistake` as `addresses.parse` does.
    """
    recipients = addresses.parse(urls)
    if not recipients:
        print(
            "qsticky: NOTIFY_URLS is not set; set it to the addresses to send to, written as in "
            f"{_HOW}",
            file=sys.stderr,
        )
        return 2
    clock = SystemClock()
    not_taken = 0
    for recipient in recipients:
        attempt = Attempt(recipient, messages.test(), clock.monotonic())
        attempt.wait()
        print(f"{recipient.label}: {attempt.outcome()}", flush=True)
        not_taken += attempt.result is not True
    if not not_taken:
        return 0
    print(
        f"Check what was not taken against {_HOW}, and that its service can be reached from here: "
        "in Gluetun's network, that is through the VPN"
    )
    return 1
