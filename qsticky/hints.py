"""What a configuration permits and yet is worth a sentence: at start, and in `qsticky check`."""

import os
import re
from collections.abc import Iterator

from qsticky import config as table
from qsticky.config import NAMES, VARIABLES, AuthType, Config, is_loopback
from qsticky.other_tools import HERE
from qsticky.secret import Secret, without_controls

OURS = ("QBITTORRENT_", "GLUETUN_", "METRICS_", "NOTIFY_", "PORT_CHECK_")
_OTHERS = re.compile(
    r"NOTIFY_SOCKET|.*_SERVICE_(HOST|PORT.*)|.*_PORT_[0-9]+_(TCP|UDP).*", re.DOTALL
)
_LONGER = re.compile("_(FILE|PATH|NAME|SEC|SECONDS)$")  # also where no file is read
_CLOSE, _VERY_CLOSE = 0.65, 0.88
_ODD = {
    r"""^(?:(["'`]).*\1|\u201c.*\u201d|\u2018.*\u2019)$""": "is in quotes, which are part of it; "
    "take them away unless they are meant",
    r"^\s|\s$": "begins or ends with a blank; take it away unless it is meant",
    r"\S\s+#": "has a blank and a # in it; where a comment begins there, put that on a line of its "
    "own",
    r"^\$(?:\{\w+\}|[A-Z][A-Z0-9_]+)$": "looks like the name of another variable, which nothing "
    "replaced; write the secret itself unless it is meant",
}


def misnamed(config: Config) -> list[str]:
    """Tell of each variable that nobody reads and that has another name here."""
    return list(filter(None, map(_misnamed, config.unread)))


def advice(config: Config) -> list[str]:
    """Tell of each value that was perhaps not meant, with what to do about it."""
    return [
        *_odd_secrets(config),
        *_closed_folder(),
        *_gluetun_credential(config),
        *_own_port(config),
    ]


def not_read(config: Config) -> str | None:
    """Name, in one sentence, the variables that begin as ours do and resemble none of them."""
    ours = (name for name in config.unread if name.startswith(OURS) and not _OTHERS.fullmatch(name))
    names = ", ".join(name for name in ours if not _misnamed(name))
    return f"Not read, as qSticky has no variables of these names: {names}" if names else None


def _misnamed(name: str) -> str | None:
    """Say what a variable that nobody reads is called here, if that can be told."""
    if _OTHERS.fullmatch(name):
        return None
    if here := _of_another_tool(name):
        return f"{name} is not read by qSticky; in its place, set {here}"
    plain = re.sub(r"\W", "_", name).upper()
    if near := plain if plain in NAMES else _near_miss(name):
        return f"{name} is set, and qSticky knows no such variable; is it {near}?"
    return None


def _of_another_tool(name: str) -> str | None:
    without = name.removeprefix("QSTICKY_")
    if without != name and without in NAMES:
        return without
    from_file = f"{HERE.get(name.removesuffix('_FILE'))}_FILE"
    return HERE.get(name) or (from_file if from_file in NAMES else None)


def _near_miss(name: str) -> str | None:
    """Find the variable that is nearly `name`.

    What comes after a beginning of ours counts by itself: QBITTORRENT_URL has most letters of
    QBITTORRENT_USER.
    """
    if (known := _LONGER.sub("", name)) in NAMES:
        return known
    begin = next((each for each in OURS if name.startswith(each)), "")
    if not begin and not _PARTS & _parts(name):  # as PATH and PYTHON_VERSION
        return None
    from difflib import get_close_matches  # which most starts can do without

    rests = {each.removeprefix(begin): each for each in NAMES if each.startswith(begin)}
    close = _CLOSE if begin else _VERY_CLOSE
    alike = get_close_matches(name.removeprefix(begin), rests, n=1, cutoff=close)
    return rests[alike[0]] if alike else None


def _parts(name: str) -> set[str]:
    """Return what shows that a name could be one of ours: KEY or URL can be anybody's."""
    return {part for part in (name[:2], *name.split("_")) if len(part) != 3}


_PARTS = set[str]().union(*map(_parts, NAMES))


def _odd_secrets(config: Config) -> Iterator[str]:
    for name, variable in VARIABLES.items():
        secret = getattr(config, name.lower())
        if not isinstance(secret, Secret) or not secret.configured:
            continue
        if secret.empty:
            effect = "which counts as unset"
            if name in ("METRICS_USERNAME", "METRICS_PASSWORD"):
                effect = "so nobody can log in to the HTTP server"
            yield f"{name}: {secret.path} is empty, {effect}; write the secret to it"
        elif variable.parse is without_controls:
            yield from _odd(name, secret.reveal())


def _odd(name: str, text: str) -> Iterator[str]:
    """Tell of what can be meant, without telling the text."""
    if text.startswith(f"{name}="):
        yield f"{name} has its own name in it; take {name}= away, so that the secret is left"
    for pattern, told in _ODD.items():
        if re.search(pattern, text, re.DOTALL):
            yield f"{name} {told}"
    if not text.strip().isprintable():
        yield f"{name} has a character in it that can't be seen; type it anew unless that is meant"


def _closed_folder() -> Iterator[str]:
    folder = table.SECRETS_FOLDER
    if os.path.isdir(folder) and not os.access(folder, os.X_OK):
        yield (
            f"Secrets in {folder} are not used, since qSticky's user can't enter that folder; let "
            "it, or run qSticky as the user who can"
        )


def _own_port(config: Config) -> Iterator[str]:
    """Tell of a service's port that qSticky takes for itself where that is free, to ask itself."""
    services = {"QBITTORRENT": (config.qbittorrent_host, config.qbittorrent_port)}
    if not config.forwarded_port:
        services["GLUETUN"] = (config.gluetun_host, config.gluetun_port)
    for service, (host, port) in services.items():
        on_it = is_loopback(config.metrics_address) and is_loopback(host)
        if port == config.metrics_port and on_it:
            yield (
                f"METRICS_PORT and {service}_PORT are both {port} on one machine; set METRICS_PORT "
                "to another one"
            )


def _gluetun_credential(config: Config) -> Iterator[str]:
    if config.forwarded_port or config.gluetun_auth_type is not AuthType.APIKEY:
        return
    chosen = any(setting.name == "GLUETUN_AUTH_TYPE" for setting in config.settings)
    both = config.gluetun_username.configured and config.gluetun_password.configured
    if both and not chosen:
        yield (
            "GLUETUN_USERNAME and GLUETUN_PASSWORD are not sent to Gluetun, as GLUETUN_AUTH_TYPE "
            "is apikey unless it is set; set GLUETUN_AUTH_TYPE=basic, or unset both"
        )
    elif not config.gluetun_apikey:
        yield (
            "GLUETUN_APIKEY is empty, so no key is sent to Gluetun, which works only where its "
            "control server is open; set GLUETUN_APIKEY (in a compose file each $ of it is "
            "written $$), or GLUETUN_AUTH_TYPE=none to say that this is meant"
        )
