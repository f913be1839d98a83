"""One variable: its row in the table of `Config`, and how what is set becomes its value."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from qsticky import parsers
from qsticky import secret as secrets
from qsticky.errors import ConfigurationError, Mistake
from qsticky.secret import Secret, without_controls

_T = TypeVar("_T")

_BYTE_ORDER_MARK = "\ufeff"
_LONGEST_SHOWN = 300


class Variable(NamedTuple):
    """One row of the table; `default` is as people would write it, and empty for none."""

    parse: Callable[[str], Any]
    default: str
    meaning: str
    secret: bool = False


class Setting(NamedTuple):
    """A variable that is set: its text, which is None for a secret's, and where it came from."""

    name: str
    text: str | None
    source: str


def with_default(parse: Callable[[str], _T], default: str, meaning: str) -> _T:
    """Make the row of a variable that has a default, in the place of a field's default."""
    return cast(_T, Variable(parse, default, meaning))


def optional(parse: Callable[[str], _T], meaning: str) -> _T | None:
    """Make the row of a variable that is None unless it is set."""
    return cast(_T, Variable(parse, "", meaning))


def secret(default: str, meaning: str, parse: Callable[[str], str] = without_controls) -> Secret:
    """Make the row of a secret."""
    return cast(Secret, Variable(parse, default, meaning, secret=True))


def read(
    name: str, variable: Variable, environ: Mapping[str, str], secrets_folder: Path
) -> tuple[object, Setting | None]:
    """Return a variable's value, and what of it is set, if anything.

    Raises `ConfigurationError` with one mistake. An empty value means unset.
    """
    if variable.secret:
        return _read_secret(name, variable, environ, secrets_folder)
    given = environ.get(name, "").removeprefix(_BYTE_ORDER_MARK).strip()
    text = given or variable.default
    try:
        value = variable.parse(text) if text else None
    except Mistake as mistake:
        raise _told(name, given, mistake) from None
    return value, Setting(name, given, "environment") if given else None


def _read_secret(
    name: str, variable: Variable, environ: Mapping[str, str], folder: Path
) -> tuple[Secret, Setting | None]:
    given, file = environ.get(name, ""), environ.get(f"{name}_FILE", "")
    if given and file:
        raise ConfigurationError([f"{name} and {name}_FILE are both set: unset one of them"])
    path = None if given else Path(file or folder / name.lower())
    if path and not file and not os.path.exists(path):  # nor in a folder closed to this user
        path = None
    try:
        text = secrets.read(path) if path else secrets.decoded(os.fsencode(given))
        if text:
            variable.parse(text)
    except (OSError, Mistake) as error:
        mistake = error if isinstance(error, Mistake) else parsers.unreadable(error)
        raise _told(
            f"{name}_FILE" if file else name, str(path or given), mistake, secret=path is None
        ) from None
    setting = Setting(name, None, f"file {path}" if path else "environment")
    value = Secret(text, path, variable.default, variable.parse)
    return value, setting if value.configured else None


def _told(name: str, value: str, mistake: Mistake, *, secret: bool = False) -> ConfigurationError:
    """Tell of a mistake, without what may be a secret in the value."""
    if secret:
        text = f"{name} {mistake}"
    elif name.endswith("_FILE") and not _may_be_a_path(value):
        text = (
            f"{name} names no file that can be there: give a path that begins with / and whose "
            "folder exists (the value is not repeated, as it could be a secret)"
        )
    else:
        text = f"{name}: {_shown(value)[:_LONGEST_SHOWN]!r} {mistake}"
    if re.fullmatch(r"""(["']).*\1""", value, re.DOTALL):
        text += "; the quotes around it are part of it, so take them away"
    elif re.search(r"\s#", value):
        text += "; a comment after it is part of it, so put that on a line of its own"
    return ConfigurationError([text])


def _shown(value: str) -> str:
    """Leave out what can be a secret: before an @, behind a URL's host, in a URL of no service."""
    scheme, of_url, rest = value.partition("://")
    _, at, host = value.rpartition("@")
    if not (at or of_url):
        return value
    if not at and scheme not in ("http", "https", "tcp", "udp"):
        return f"{scheme[:20]}://…"  # as of Telegram, whose token stands in a host's place
    host, *more = re.split(r"[/?#&\s]", host if at else rest, maxsplit=1)
    return (f"…@{host}" if at else f"{scheme}://{host}") + ("…" if any(more) else "")


def _may_be_a_path(text: str) -> bool:
    return text.startswith("/") and os.path.isdir(os.path.dirname(text))
