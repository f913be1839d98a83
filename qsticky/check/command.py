"""`qsticky check`: tries the whole configuration once, changes nothing, and tells what it found."""

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import TextIOWrapper
from pathlib import Path

from qsticky import HOME, config
from qsticky.check import configuration, findings, gluetun, listening, running_daemon, webui
from qsticky.check.facts import Facts
from qsticky.check.findings import Finding, Remedy, Section, Verdict
from qsticky.check.place import place
from qsticky.clock import SystemClock
from qsticky.errors import ConfigurationError, SyncError
from qsticky.kernel import netlink

Check = Callable[[Facts], Iterator[Finding]]

_CHECKS: tuple[tuple[Section, Check], ...] = (
    (configuration.SECTION, configuration.settings),
    (gluetun.SECTION, gluetun.control_server),
    (gluetun.SECTION, gluetun.vpn_restart),
    (gluetun.SECTION, gluetun.port_file),
    (webui.SECTION, webui.webui),
    *((listening.SECTION, check) for check in listening.CHECKS),
)


def main(as_json: bool, environ: Mapping[str, str]) -> int:
    """Check, write what was found, and return the exit code: 0 all holds, 1 not, 2 mistakes."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return _check(as_json, environ)
    except KeyboardInterrupt:
        return 130
    except OSError as error:  # nobody reads on, as with `| head`, or the disk is full
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            print(f"qsticky: the findings can't be written ({error.strerror})", file=sys.stderr)
        return 1


def examine(facts: Facts) -> Iterator[Finding]:
    """Run every check, and yield the findings in the order of their sections."""
    # Before qBittorrent is asked: what a running daemon says decides whether a login is safe.
    of_the_daemon = [
        finding
        for check in running_daemon.CHECKS
        for finding in _guarded(running_daemon.SECTION, check, facts)
    ]
    try:
        for section, check in _CHECKS:
            yield from _guarded(section, check, facts)
    finally:
        webui.log_out(facts)
    yield from of_the_daemon


def _check(as_json: bool, environ: Mapping[str, str]) -> int:
    try:
        loaded = config.load(environ)
    except ConfigurationError as error:
        mistakes = [configuration.SECTION.failed("mistake", text) for text in error.mistakes]
        _show(mistakes, as_json, environ)
        return 2
    facts = Facts(loaded, SystemClock(), netlink, place(environ))
    shown = _show(examine(facts), as_json, environ)
    return 1 if any(finding.verdict is Verdict.FAILED for finding in shown) else 0


def _show(found: Iterable[Finding], as_json: bool, environ: Mapping[str, str]) -> list[Finding]:
    if not as_json:
        return findings.write(found, sys.stdout, environ)
    found = list(found)
    print(json.dumps(findings.document(found), indent=2), flush=True)
    return found


def _guarded(section: Section, check: Check, facts: Facts) -> Iterator[Finding]:
    try:
        yield from check(facts)
    except SyncError as error:
        yield section.failed("answer", str(error))
    except Exception as error:  # noqa: BLE001 - the others are worth trying, whatever it is
        # Not the error's text, which can hold anything.
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}"
        failed = f"A check failed by an internal error ({place})"
        yield section.failed("internal", failed, Remedy("Report it at", (f"{HOME}/issues",)))
