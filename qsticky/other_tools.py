"""What the variables of other tools are here, as docs/upgrading.md shows and the start tells."""

from typing import NamedTuple


class Tool(NamedTuple):
    """Some tools whose variables are the same, by the heading that docs/upgrading.md gives them.

    `here` says in words what to set in place of each variable, and `unneeded` are those for which
    nothing need be set.
    """

    heading: str
    here: dict[str, str]
    unneeded: tuple[str, ...] = ()


_WEBUI = "QBITTORRENT_HOST, QBITTORRENT_PORT and, for https, QBITTORRENT_HTTPS=true"
_CONTROL_SERVER = "GLUETUN_HOST and GLUETUN_PORT"

TOOLS = (
    Tool(
        "monstermuffin/qSticky",
        {
            "QSTICKY_PORT_FILE_PATH": "GLUETUN_PORT_FILE",
            "QSTICKY_USE_HTTPS": "QBITTORRENT_HTTPS",
        },
        unneeded=("GIT_COMMIT",),
    ),
    Tool(
        "GSP, the mod for linuxserver/qbittorrent",
        {
            "GSP_GTN_ADDR": _CONTROL_SERVER,
            "GSP_GTN_API_KEY": "GLUETUN_APIKEY",
            "GSP_GTN_API_KEY_FILE": "GLUETUN_APIKEY_FILE",
            "GSP_GTN_PORT_INDEX": "GLUETUN_PORT_INDEX",
            "GSP_PORT_INDEX": "GLUETUN_PORT_INDEX",
            "GSP_QBT_ADDR": _WEBUI,
            "WEBUI_PORT": "QBITTORRENT_PORT",
            "GSP_QBT_USERNAME": "QBITTORRENT_USER",
            "GSP_QBT_PASSWORD": "QBITTORRENT_PASS",
            "GSP_QBT_PASSWORD_FILE": "QBITTORRENT_PASS_FILE",
            "GSP_CERT_CHECK": "QBITTORRENT_VERIFY_SSL, or better QBITTORRENT_CA_FILE",
            "GSP_SLEEP": "CHECK_INTERVAL",
            "GSP_DEBUG": "LOG_LEVEL=DEBUG",
        },
        unneeded=(
            "GSP_RETRY_DELAY",
            "GSP_INIT_RETRY_WAIT",
            "GSP_SKIP_INIT_CHECKS",
            "GSP_MINIMAL_LOGS",
        ),
    ),
    Tool(
        "qbittorrent-port-forward-gluetun-server, by mjmeli and by Kirari04",
        {
            "GTN_ADDR": _CONTROL_SERVER,
            "GTN_APIKEY": "GLUETUN_APIKEY",
            "GTN_USERNAME": "GLUETUN_USERNAME, with GLUETUN_AUTH_TYPE=basic",
            "GTN_PASSWORD": "GLUETUN_PASSWORD, with GLUETUN_AUTH_TYPE=basic",
            "QBT_ADDR": _WEBUI,
            "QBT_USERNAME": "QBITTORRENT_USER",
            "QBT_PASSWORD": "QBITTORRENT_PASS",
            "QBT_API_KEY": "QBITTORRENT_API_KEY",
            "INTERVAL": "CHECK_INTERVAL, in seconds instead of minutes",
        },
    ),
    Tool(
        "gluetun-qbittorrent-port-manager, by SnoringDragon",
        {
            "PORT_FORWARDED": "GLUETUN_PORT_FILE",
            "QBITTORRENT_SERVER": "QBITTORRENT_HOST",
            "HTTP_S": "QBITTORRENT_HTTPS=true, for https",
        },
    ),
    Tool(
        "glueforward, and qbittorrent-gluetun-port-sync by bdclark",
        {
            "GLUETUN_URL": _CONTROL_SERVER,
            "GLUETUN_API_KEY": "GLUETUN_APIKEY",
            "GLUETUN_PORT_WAIT_DURATION": "PORT_GRACE",
            "QBITTORRENT_URL": _WEBUI,
            "QBITTORRENT_USERNAME": "QBITTORRENT_USER",
            "QBITTORRENT_PASSWORD": "QBITTORRENT_PASS",
            "SUCCESS_INTERVAL": "CHECK_INTERVAL",
            "POLL_INTERVAL": "CHECK_INTERVAL",
            "HEALTH_PORT": "METRICS_PORT",
        },
        unneeded=(
            "SERVICE_TYPE",
            "RETRY_INTERVAL",
            "HEALTH_ENABLED",
            "STARTUP_CHECK_DELAY",
            "STARTUP_CHECK_INTERVAL",
            "STARTUP_MAX_ATTEMPTS",
            "VERIFY_DELAY",
            "VERIFY_MAX_ATTEMPTS",
        ),
    ),
    Tool(
        "qbittorrent-gluetun-port-update, by TechnoSam",
        {
            "GLUETUN_CONTROL_HOST": "GLUETUN_HOST",
            "GLUETUN_CONTROL_PORT": "GLUETUN_PORT",
            "QBITTORRENT_WEBUI_HOST": "QBITTORRENT_HOST",
            "QBITTORRENT_WEBUI_PORT": "QBITTORRENT_PORT",
            "QBITTORRENT_WEBUI_USERNAME": "QBITTORRENT_USER",
            "QBITTORRENT_WEBUI_PASSWORD": "QBITTORRENT_PASS",
            "CHECK_INTERVAL_SEC": "CHECK_INTERVAL",
        },
        unneeded=("INITIAL_DELAY_SEC", "ERROR_INTERVAL_SEC", "ERROR_INTERVAL_COUNT"),
    ),
    Tool(
        "qbit-gluetun-sync by vehkiya and by hononeko, and qbittorrent-port-glue by spotdemo4",
        {
            "PORT_FILE": "GLUETUN_PORT_FILE",
            "QBIT_ADDR": _WEBUI,
            "QBIT_USER": "QBITTORRENT_USER",
            "QBIT_PASS": "QBITTORRENT_PASS",
            "QBIT_API_KEY": "QBITTORRENT_API_KEY",
            "QBIT_INSECURE_SKIP_VERIFY": "QBITTORRENT_VERIFY_SSL",
            "QBIT_CA_CERT_FILE": "QBITTORRENT_CA_FILE",
            "GLUETUN_ADDR": _CONTROL_SERVER,
            "SYNC_INTERVAL": "CHECK_INTERVAL, in seconds",
            "WEBHOOK_URL": "NOTIFY_URLS, with NOTIFY_ON=port_changed",
            "LISTEN_ADDR": "METRICS_ADDRESS",
            "LISTEN_PORT": "METRICS_PORT",
        },
        unneeded=("ALLOWED_IPS", "QBIT_API_KEY_HEADER", "QBIT_DISABLE_UPNP"),
    ),
    Tool(
        "gluetun-watchguard, by 54tor",
        {
            "GLUETUN_CONTROL_URL": _CONTROL_SERVER,
            "GLUETUN_API_KEY": "GLUETUN_APIKEY",
            "GLUETUN_AUTH_USERNAME": "GLUETUN_USERNAME, with GLUETUN_AUTH_TYPE=basic",
            "GLUETUN_AUTH_PASSWORD": "GLUETUN_PASSWORD, with GLUETUN_AUTH_TYPE=basic",
            "CLIENT_URL": _WEBUI,
            "CLIENT_USERNAME": "QBITTORRENT_USER",
            "CLIENT_PASSWORD": "QBITTORRENT_PASS",
            "HTTP_TIMEOUT": "REQUEST_TIMEOUT",
            "FAILURE_THRESHOLD": "GLUETUN_RESTART_AFTER, in seconds",
            "PORT_CHECK_RECOVERY": "PORT_CHECK_URL, with GLUETUN_RESTART_AFTER",
        },
        unneeded=(
            *("ENABLE_PORT_SYNC", "ENABLE_HEALTHCHECK", "ENABLE_PORT_CHECK"),
            *("ENABLE_CONTAINER_HEALTH", "ENABLE_DOCKER_ACTION", "HEALTH_REQUIRE_EGRESS"),
            *("HEALTHCHECK_URL", "GLUETUN_HTTP_PROXY", "TORRENT_CLIENT", "CLIENT_CONTAINER"),
            *("CLIENT_SERVICE", "DOCKER_SOCKET", "DOCKER_ACTION", "GLUETUN_CONTAINER"),
            *("GLUETUN_SERVICE", "COMPOSE_PROJECT", "RECOVERY_HEALTHY_TIMEOUT"),
            *("RESTART_COOLDOWN", "STARTUP_GRACE"),
        ),
    ),
    Tool(
        "qbittorrent-natmap, by soxfor",
        {
            "QBITTORRENT_SERVER": "QBITTORRENT_HOST",
            "QBITTORRENT_SERVER_HTTP_OR_HTTPS": "QBITTORRENT_HTTPS=true, for https",
            "VPN_IF_NAME": "VPN_INTERFACE",
        },
        unneeded=("VPN_GATEWAY", "VPN_CT_NAME", "NAT_LEASE_LIFETIME"),
    ),
)

HERE = {theirs: here for tool in TOOLS for theirs, here in tool.here.items()}
