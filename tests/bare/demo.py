"""Runs `make demo` at a terminal of 80 columns, opens its page, and ends it with Ctrl-C.

Needs no more than Python, and prints what the terminal showed. Ends with 1 when the page was not
served within the time, or when `make demo` did not end with 0.
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import sys
import termios
import threading
import time
import urllib.request

PAGE = "http://127.0.0.1:10058/"
PATIENCE = 180  # seconds; mostly for what is downloaded before
CTRL_C = b"\x03"


def main() -> int:
    """Run it."""
    began = time.monotonic()
    process, terminal = pty.fork()
    if process == 0:
        os.execvp("make", ["make", "demo"])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    threading.Thread(target=show, args=(terminal,), daemon=True).start()
    served = wait_for_page()
    os.write(terminal, CTRL_C)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    print(f"make demo: page served {served}, after {time.monotonic() - began:.0f} s, exit {code}")
    return 0 if served and code == 0 else 1


def show(terminal: int) -> None:
    """Print what the terminal shows."""
    try:
        while shown := os.read(terminal, 65536):
            sys.stdout.buffer.write(shown)
            sys.stdout.buffer.flush()
    except OSError:
        pass  # it ended


def wait_for_page() -> bool:
    """Wait until the page says that all is in sync."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(PAGE, timeout=5) as answer:
                if b"In sync" in answer.read():
                    return True
        except OSError:
            pass
        time.sleep(0.2)
    return False


if __name__ == "__main__":
    sys.exit(main())
