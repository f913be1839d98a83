"""A value that shows nowhere, read anew from its file when that changed."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from qsticky.errors import Mistake
from qsticky.files import open_at_once, settled

_LONGEST = 16384  # bytes
_JUST_THE_SECRET = "put just the secret into it, as one line of text"


def decoded(content: bytes) -> str:
    """Return what the bytes of a secret say; raises a `Mistake`.

    A trailing newline and a byte order mark are no part of it.
    """
    content = content.removesuffix(b"\n").removesuffix(b"\r")
    if len(content) > _LONGEST:
        raise Mistake(f"is longer than {_LONGEST} bytes: {_JUST_THE_SECRET}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Mistake(f"is not UTF-8 text: {_JUST_THE_SECRET}") from None


def read(path: Path) -> str:
    """Return what a file with a secret says; raises OSError or a `Mistake`."""
    with open_at_once(path) as file:
        return decoded(file.read(_LONGEST + len("\r\n?")) or b"")


def without_controls(text: str) -> str:
    """Take a text without control characters, which in a header never can be sent."""
    if any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise Mistake(f"contains a line break or another control character: {_JUST_THE_SECRET}")
    return text


@dataclass
class Secret:
    """A value that shows in no `repr`; when it came from a file, that is its `path`.

    `parse` raises a `Mistake` for a text that it can't be, with nothing of that in it.
    """

    _given: str = field(repr=False)
    path: Path | None
    default: str = field(repr=False)
    parse: Callable[[str], str] = field(repr=False)

    def reveal(self) -> str:
        """Return the value now: its file's, or the last known where that can't be used.

        A secret that is rotated on disk takes effect without a restart, once its file is at rest.
        """
        if self.path is not None:
            with contextlib.suppress(OSError, Mistake):
                self._given = self._in_file(self.path)
        return self._given or self.default

    def _in_file(self, path: Path) -> str:
        text = settled(lambda: read(path), self._given)
        if text and text != self._given:
            self.parse(text)
        return text or self._given

    @property
    def configured(self) -> bool:
        """Whether somebody set it: a file with nothing in it does so, too."""
        return self.path is not None or bool(self._given)

    @property
    def empty(self) -> bool:
        """Whether it comes from a file that never had anything in it."""
        return self.path is not None and not self._given

    def __bool__(self) -> bool:
        return bool(self._given or self.default)
