"""What `--help` says: of each command what it does, its exit codes, and the variables it reads."""

import textwrap

from qsticky import HOME
from qsticky.config import VARIABLES

_WIDTH = 80


def _rows(rows: dict[str, str]) -> str:
    """Lay out names and what they mean in two columns."""
    indent = max(map(len, rows)) + 4
    lines = (
        textwrap.fill(
            f"  {name}".ljust(indent) + meaning,
            _WIDTH,
            subsequent_indent=" " * indent,
            break_on_hyphens=False,
        )
        for name, meaning in rows.items()
    )
    return "\n".join(lines) + "\n"


def _variables(*names: str, **defaults: str) -> str:
    """Describe some of the variables in the table's order, or all; `defaults` are other ones."""
    rows = {}
    for name, variable in VARIABLES.items():
        if not names or name in names:
            default = defaults.get(name, variable.default)
            rows[name] = variable.meaning + (f" ({default})" if default else "")
    return _rows(rows)


_MOST = _variables(
    *("QBITTORRENT_HOST", "QBITTORRENT_PORT", "QBITTORRENT_USER", "QBITTORRENT_PASS"),
    *("QBITTORRENT_API_KEY", "GLUETUN_HOST", "GLUETUN_PORT", "GLUETUN_APIKEY"),
    "GLUETUN_PORT_FILE",
)
_OF_THE_DEMO = _variables(
    *("METRICS_ADDRESS", "METRICS_PORT", "LOG_FORMAT"),
    METRICS_ADDRESS="127.0.0.1",
    LOG_FORMAT="text",
)

QSTICKY = f"""\
Keeps qBittorrent really listening on the port that Gluetun was given, and shows
whether it does. Without a command it runs the daemon.

Everything is configured by environment variables. Those that most people set:

{_MOST}
All of them: qsticky run --help
When something is wrong, begin with: qsticky check
"""

_RUN = f"""\
Runs the daemon: asks Gluetun for its forwarded port, sets it in qBittorrent,
reads it back, and sees to it that a socket listens on it. It is what runs
without a command, too.

exit codes:
  0   after SIGTERM or SIGINT
  1   it can't run: METRICS_PORT is taken, or its worker died
  2   the configuration is wrong; all mistakes are listed

variables, with their defaults (a secret can come from NAME_FILE=/path, too):
{_variables()}"""

_CHECK = f"""\
Tries the whole configuration once and lists what holds and what doesn't, each
failure with its remedy to copy. It changes nothing, logs in to qBittorrent
once at most, and not at all where a running qSticky was refused. Beside a
running qSticky, it is: docker exec qsticky qsticky check

exit codes:
  0   all holds; recommendations don't count
  1   something doesn't
  2   the configuration is wrong; all mistakes are listed

variables: those of the daemon (qsticky run --help), and
{_rows({"NO_COLOR": "if set, no colours at a terminal either"})}"""

_HEALTHCHECK = f"""\
Reads the health file that the daemon writes and tells its verdict in one line,
for Docker's HEALTHCHECK. It asks nobody.

exit codes:
  0   healthy
  1   unhealthy, or the file is missing or stale

variables, which are to be the daemon's:
{_variables("HEALTH_FILE", "CHECK_INTERVAL", "REQUEST_TIMEOUT")}"""

_NOTIFY = f"""\
Sends a test message to each address in NOTIFY_URLS, and says of each whether it
was taken. An address is named by its number, as it is a secret.

exit codes:
  0   all were taken
  1   one was not
  2   the configuration is wrong; all mistakes are listed

variables:
{_variables("NOTIFY_URLS")}"""

_DEMO = f"""\
Runs the real daemon between a simulated Gluetun and a simulated qBittorrent on
loopback, for a first look without a VPN: the forwarded port changes every few
seconds, or a bad day is played. It says where to look.

exit codes:
  0   after Ctrl-C
  1   it can't run: METRICS_PORT is taken
  2   a variable is wrong

variables:
{_OF_THE_DEMO}"""

COMMANDS = {
    "run": ("run the daemon (the default)", _RUN),
    "check": ("try the configuration once, and tell what is wrong", _CHECK),
    "healthcheck": ("read the health file, for Docker's HEALTHCHECK", _HEALTHCHECK),
    "notify": ("send a test message to NOTIFY_URLS", _NOTIFY),
    "demo": ("run the daemon between a simulated Gluetun and qBittorrent", _DEMO),
}
DOCUMENTATION = f"Documentation: {HOME}"
