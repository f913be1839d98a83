"""The log lines of one real run in which every event happens, and the contract that they keep."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qsticky.demo.gluetun_simulator import GluetunSimulator
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from tests.end_to_end.command import BOUND, QSticky
from tests.observability.outside import DialsBack
from tests.real import free_port, wait_until

PAGE = Path(__file__).parents[2] / "docs" / "logs.md"
TYPES: Mapping[str, type | tuple[type, ...]] = {"string": str, "number": (int, float)}

# What Python runs before the command: there a mistake can be put into it, and a library's voice.
_MISTAKES = """
import logging
import os
import warnings

from qsticky.sync.synchronizer import Synchronizer


class Fatal(BaseException):
    pass


def mistaken(self, *arguments, sync=Synchronizer.sync):
    if os.path.exists("worker-dies"):
        raise Fatal("for good")
    if os.path.exists("sync-fails"):
        warnings.warn("this will go away", DeprecationWarning)
        logging.getLogger("a.library").warning("Retrying\\nafter %s", "a reset")
        raise ZeroDivisionError("one line\\nand another")
    return sync(self, *arguments)


Synchronizer.sync = mistaken
"""

Line = dict[str, Any]


def _others(outside: DialsBack) -> dict[str, object]:
    """All that makes others be asked, and told.

    The VPN's interface is in this network, though not one that qBittorrent tells of.
    """
    return {
        "VPN_INTERFACE": "lo",
        "PORT_CHECK_URL": outside.port_check_url,
        "PORT_CHECK_INTERVAL": 1,
        "GLUETUN_RESTART_AFTER": 5,
        "NOTIFY_URLS": f"json://127.0.0.1:{free_port()}/",
        "NOTIFY_ON": "port_changed",
    }


@dataclass(frozen=True)
class Contract:
    """What docs/logs.md promises: fields by their types, of any line and of each event.

    Events are told apart by their level too: one that can end well or badly has other fields then.
    """

    fields: Mapping[str, str]
    events: Mapping[tuple[str, str], Mapping[str, str]]

    @property
    def names(self) -> set[str]:
        """Every field that a line can have."""
        return set(self.fields).union(*self.events.values())


def contract() -> Contract:
    """Read it from the page."""
    fields: dict[str, str] = {}
    events: dict[tuple[str, str], Mapping[str, str]] = {}
    for row in re.findall(r"^\| `.*", PAGE.read_text(), re.MULTILINE):
        first, second, third, *rest = (cell.strip() for cell in row.strip("|").split("|"))
        if rest and first != "`event`":
            events[first.strip("`"), second] = dict(re.findall(r"`(\w+)` \((\w+)\)", third))
        elif not rest:
            fields[first.strip("`")] = second
    return Contract(fields, events)


def run(folder: Path) -> list[str]:
    """Run the daemon through all that it has words for, and return what it printed, by lines."""
    code = folder / "code"
    code.mkdir()
    (code / "sitecustomize.py").write_text(_MISTAKES)
    port, password = free_port(), folder / "password"
    password.write_text("adminadmin")
    with (
        GluetunSimulator(ports=[port]) as gluetun,
        QBittorrentSimulator(listen_port=port) as qbittorrent,
    ):
        del qbittorrent.interfaces["lo"]
        variables = {
            "GLUETUN_HOST": gluetun.host,
            "GLUETUN_PORT": gluetun.port,
            "QBITTORRENT_HOST": qbittorrent.host,
            "QBITTORRENT_PORT": qbittorrent.port,
            "QBITTORRENT_PASS_FILE": password,
            "VPN_INTERFACE": "absent0",
            "CHECK_INTERVAL": 300,
            "LOG_LEVEL": "DEBUG",
            "PYTHONPATH": code,
            "PYTHONWARNINGS": "always",
        }
        with QSticky(_folder(folder, "whole"), variables) as qsticky:
            qsticky.wait_for("synced")
            qsticky.sync("?rebind=true")
            _lose_the_port_and_find_it(qsticky, gluetun)
            _meet_outages(qsticky, gluetun, qbittorrent)
            _change_the_password(qsticky, qbittorrent, password)
            _lose_the_health_file(qsticky)
            _make_a_mistake(qsticky)
        with DialsBack() as outside:
            asking = _ask_others(folder, {**variables, **_others(outside)}, gluetun, outside)
        with QSticky(_folder(folder, "dying"), variables) as dying:
            dying.wait_for("synced")
            (dying.folder / "worker-dies").touch()
            with contextlib.suppress(ConnectionError):  # it may end before it has answered
                dying.get("/-/sync", "POST")
            assert dying.wait() == 1
        with socket.create_server(("127.0.0.1", 0)) as another:
            port_taken = {**variables, "METRICS_PORT": another.getsockname()[1]}
            with QSticky(_folder(folder, "port-taken"), port_taken) as kept_out:
                assert kept_out.wait() == 1
    return [line for one in (qsticky, asking, dying, kept_out) for line in one.stdout.splitlines()]


def parse(lines: list[str]) -> list[Line]:
    """Parse lines, each of which must be a JSON object."""
    parsed = [json.loads(line) for line in lines]
    assert all(isinstance(line, dict) for line in parsed)
    return parsed


def _folder(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def _lose_the_port_and_find_it(qsticky: QSticky, gluetun: GluetunSimulator) -> None:
    gluetun.ports = ()
    qsticky.sync()
    gluetun.ports = (free_port(),)
    qsticky.sync()


def _meet_outages(
    qsticky: QSticky, gluetun: GluetunSimulator, qbittorrent: QBittorrentSimulator
) -> None:
    for service in (gluetun, qbittorrent):
        service.stop()
        qsticky.sync()
        service.start()
        qsticky.sync()


def _ask_others(
    folder: Path, variables: Mapping[str, object], gluetun: GluetunSimulator, outside: DialsBack
) -> QSticky:
    """Run it with what speaks to others than the two services, and is there only if asked for."""
    (port,) = gluetun.ports = (free_port(),)
    with QSticky(_folder(folder, "asking"), variables) as qsticky:
        qsticky.wait_for_port(port)
        qsticky.wait_for_event("notification_failed")
        qsticky.wait_for_event("port_check")
        outside.is_open = False
        _wait_for_both(qsticky, "port_check")
        gluetun.starts = "crashed"
        gluetun.ports = ()
        qsticky.sync()
        _wait_for_both(qsticky, "vpn_restart")
    gluetun.starts, gluetun.vpn, gluetun.ports = "running", "running", (port,)
    return qsticky


def _wait_for_both(qsticky: QSticky, event: str) -> None:
    wait_until(lambda: qsticky.events().count(event) == 2, BOUND, f"{event}, good and bad")


def _change_the_password(
    qsticky: QSticky, qbittorrent: QBittorrentSimulator, password: Path
) -> None:
    qbittorrent.password = "another"
    qbittorrent.expire_sessions()
    qsticky.sync()
    assert qsticky.health()["reason"] == "qbittorrent_unauthorized"
    password.write_text(qbittorrent.password)
    wait_until(lambda: _syncs_well(qsticky), BOUND, "the changed password to be taken")


def _syncs_well(qsticky: QSticky) -> bool:
    qsticky.sync()
    return bool(qsticky.health()["status"] == "synced")


def _lose_the_health_file(qsticky: QSticky) -> None:
    folder = qsticky.health_file.parent
    elsewhere = folder.with_name("elsewhere")
    folder.rename(elsewhere)
    folder.touch()  # not even root can make a file in a file
    qsticky.get("/-/sync", "POST")
    qsticky.wait_for_event("health_file_failed")
    folder.unlink()
    elsewhere.rename(folder)
    qsticky.sync()


def _make_a_mistake(qsticky: QSticky) -> None:
    mistake = qsticky.folder / "sync-fails"
    mistake.touch()
    qsticky.sync()
    mistake.unlink()
    qsticky.sync()
    wait_until(lambda: qsticky.events()[-1] == "sync_recovered", BOUND, "the recovery to be told")
