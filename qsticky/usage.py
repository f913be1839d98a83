"""What `--help` says: of each command what it does, its exit codes, the variables that matter."""

from qsticky import HOME

QSTICKY = """\
Keeps qBittorrent really listening on the port that Gluetun was given, and shows
whether it does. Without a command it runs the daemon.

Everything is configured by environment variables. Those that most people set:

  QBITTORRENT_HOST, QBITTORRENT_PORT   where its WebUI is (localhost, 8080)
  QBITTORRENT_USER, QBITTORRENT_PASS   its user and password (admin, adminadmin)
  QBITTORRENT_API_KEY                  in their place, qBittorrent 5.2 and later
  GLUETUN_HOST, GLUETUN_PORT           its control server (localhost, 8000)
  GLUETUN_APIKEY                       the API key of a role there
  GLUETUN_PORT_FILE                    its port file, if mounted

When something is wrong, begin with: qsticky check
"""

RUN = """\
Runs the daemon: asks Gluetun for its forwarded port, sets it in qBittorrent,
reads it back, and sees to it that a socket listens on it. It is what runs
without a command, too.

exit codes:
  0   after SIGTERM or SIGINT
  1   it can't run: METRICS_PORT is taken, or its worker died
  2   the configuration is wrong; all mistakes are listed

variables, besides those of both services (qsticky --help):
  CHECK_INTERVAL   seconds between checks when nothing triggers one (30)
  REQUEST_TIMEOUT  seconds for one request, the whole of it (10)
  PORT_GRACE       seconds without a forwarded port until unhealthy (300)
  VPN_INTERFACE    the VPN's interface, looked at where it is visible (tun0)
  HEALTH_FILE      the health document (/tmp/health/status.json)
  METRICS_ADDRESS  where the page and the metrics are served (0.0.0.0)
  METRICS_PORT     the port of both (10058)
  LOG_LEVEL        DEBUG, INFO, WARNING or ERROR (INFO)
  LOG_FORMAT       json, or text for people at a terminal (json)
"""

CHECK = """\
Tries the whole configuration once and lists what holds and what doesn't, each
failure with its remedy to copy. It changes nothing, logs in to qBittorrent
once at most, and not at all where a running qSticky was refused. Beside a
running qSticky, it is: docker exec qsticky qsticky check

exit codes:
  0   all holds; recommendations don't count
  1   something doesn't
  2   the configuration is wrong; all mistakes are listed

variables: those of the daemon (qsticky run --help), and of them mostly
  REQUEST_TIMEOUT  seconds for one request, the whole of it (10)
  NO_COLOR         if set, no colours at a terminal either
"""

HEALTHCHECK = """\
Reads the health file that the daemon writes and tells its verdict in one line,
for Docker's HEALTHCHECK. It asks nobody, and needs no other variable.

exit codes:
  0   healthy
  1   unhealthy, or the file is missing or stale

variables:
  HEALTH_FILE      the health document (/tmp/health/status.json)
"""

DEMO = """\
Runs the real daemon between a simulated Gluetun and a simulated qBittorrent on
loopback, for a first look without a VPN: the forwarded port changes every few
seconds, or a bad day is played. It says where to look.

exit codes:
  0   after Ctrl-C
  1   it can't run: METRICS_PORT is taken
  2   a variable is wrong

variables:
  METRICS_ADDRESS  where the page and the metrics are served (127.0.0.1)
  METRICS_PORT     the port of both (10058)
  LOG_FORMAT       text, or json (text)
"""

DOCUMENTATION = f"Documentation: {HOME}"
