"""The real daemon between a simulated Gluetun and qBittorrent: a first look, and bad days."""

import importlib.util
import logging
import tempfile
import textwrap
import threading
from collections.abc import Mapping
from pathlib import Path

from qsticky import config
from qsticky.config import Config
from qsticky.daemon import Daemon
from qsticky.demo.catcher import Catcher
from qsticky.demo.gluetun_simulator import GluetunSimulator
from qsticky.demo.kernel_simulator import VPN_INTERFACE
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from qsticky.demo.scenarios import FOLLOWING, SCENARIOS, Act, Scenario, Stage

API_KEY = "demonstration"
_OURS = ("GLUETUN_", "QBITTORRENT_", "VPN_", "FORWARDED_PORT")
_QUICK = {"CHECK_INTERVAL": "3", "PORT_GRACE": "30"}
_WIDTH = 80
REMIND_EVERY = 60.0
_BAD_DAYS = (
    "Bad days to play instead, as in make demo SCENARIO=outage, which is\n"
    "qsticky demo --scenario outage:"
)


def main(scenario: str | None, minutes: float, environ: Mapping[str, str]) -> int:
    """Play a scenario again and again until Ctrl-C, its trouble so many minutes long each time.

    Without one, the port changes every few seconds. What the environment says of anything but the
    two services and the VPN counts.
    """
    with (
        tempfile.TemporaryDirectory(prefix="qsticky-demo-") as folder,
        GluetunSimulator(api_key=API_KEY) as gluetun,
        QBittorrentSimulator() as qbittorrent,
        Catcher() as catcher,
    ):
        stage = Stage(gluetun, qbittorrent, Path(folder, "forwarded_port"), Path(folder, "pass"))
        stage.set_up()
        defaults = {
            "HEALTH_FILE": f"{folder}/status.json",
            "METRICS_ADDRESS": "127.0.0.1",
            "LOG_FORMAT": "text",
            **_QUICK,
        }
        if scenario and importlib.util.find_spec("apprise"):
            defaults |= {"NOTIFY_URLS": catcher.address, "NOTIFY_AFTER": "10"}
        own = {name: value for name, value in environ.items() if not name.startswith(_OURS)}
        chosen = SCENARIOS[scenario] if scenario else FOLLOWING
        settings = config.load({**defaults, **own, **variables(stage), **chosen.variables})
        play = Play(chosen, minutes * 60, stage, f"The page is at {settings.metrics_url}/")
        print(play.programme(), _where_to_look(settings), sep="\n", flush=True)
        daemon = Daemon(settings, kernel=stage.kernel)
        play.start()
        try:
            return daemon.run()
        finally:
            play.stop()


def variables(stage: Stage) -> Mapping[str, str]:
    """What the daemon must know of a stage."""
    return {
        "GLUETUN_HOST": stage.gluetun.host,
        "GLUETUN_PORT": str(stage.gluetun.port),
        "GLUETUN_APIKEY": API_KEY,
        "GLUETUN_PORT_FILE": str(stage.port_file),
        "QBITTORRENT_HOST": stage.qbittorrent.host,
        "QBITTORRENT_PORT": str(stage.qbittorrent.port),
        "QBITTORRENT_USER": stage.qbittorrent.username,
        "QBITTORRENT_PASS_FILE": str(stage.password_file),
        "VPN_INTERFACE": VPN_INTERFACE,
    }


class Play:
    """Plays a scenario on a stage, on a thread of its own, and says in the log what it does.

    `trouble` is how many seconds an act without a duration lasts; `reminder` is said each minute.
    """

    def __init__(self, scenario: Scenario, trouble: float, stage: Stage, reminder: str) -> None:
        self._scenario = scenario
        self._trouble = trouble
        self._stage = stage
        self._reminder = reminder
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=run, name="demo") for run in (self._run, self._remind)
        ]
        self._logger = logging.getLogger("demo")
        self._logger.setLevel(logging.INFO)

    def programme(self) -> str:
        """Say what will happen when, and what shows it."""
        scenario = self._scenario
        if len(scenario.acts) == 1:
            names = textwrap.fill(", ".join(SCENARIOS), _WIDTH - 2, break_on_hyphens=False)
            return f"{scenario.summary}\n\n{_BAD_DAYS}\n\n{textwrap.indent(names, '  ')}\n"
        lines, begins = [scenario.summary, ""], 0.0
        for act in scenario.acts:
            lines.append(f"  {_clock(begins):>6}  {act.sentence}")
            begins += self._seconds(act)
        lines += [f"  {_clock(begins):>6}  And all of it again", ""]
        if scenario.reason:
            lines.append(f"Its syncs fail with the reason {scenario.reason}.")
        lines += ["It shows in these metrics:", *(f"  {name}" for name in scenario.shown_by), ""]
        return "\n".join(lines)

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, also in the middle of an act."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            for number, act in enumerate(self._scenario.acts, 1):
                self._announce(number, act)
                self._perform(act)

    def _remind(self) -> None:
        while not self._ended.wait(REMIND_EVERY):
            self._logger.info(self._reminder)

    def _announce(self, number: int, act: Act) -> None:
        acts = len(self._scenario.acts)
        if acts > 1 and not self._ended.is_set():
            lasts = _clock(self._seconds(act))
            self._logger.info("Act %d of %d, for %s: %s", number, acts, lasts, act.sentence)

    def _perform(self, act: Act) -> None:
        left = self._seconds(act)
        while left > 0 and not self._ended.is_set():
            act.play(self._stage)
            pause = min(act.every, left)
            self._ended.wait(pause)
            left -= pause

    def _seconds(self, act: Act) -> float:
        return self._trouble if act.seconds is None else act.seconds


def _clock(seconds: float) -> str:
    return f"{seconds // 60:.0f}:{seconds % 60:02.0f}"


def _where_to_look(settings: Config) -> str:
    return (
        "While it runs, look at\n\n"
        f"  the page         {settings.metrics_url}/\n"
        f"  the metrics      {settings.metrics_url}/metrics, for a Prometheus\n"
        f"  the health file  {settings.health_file}\n\n"
        "Ctrl-C ends it. This is its log:\n"
    )
