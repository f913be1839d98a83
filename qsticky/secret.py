"""A value that shows nowhere, read anew from its file when that changed."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from qsticky.errors import Mistake
from qsticky.files import open_at_once, settled

_JUST_THE_SECRET = "put just the secret into it, as one line of text"


def _anything(_: str) -> None:
    """Accept any text."""


@dataclass(frozen=True)
class Kind:
    """What a secret may be: how many bytes, whether on several lines, and what `check` lets pass.

    `check` raises a `Mistake`, with nothing of the secret in it.
    """

    longest: int = 4096
    lines: bool = False
    check: Callable[[str], None] = _anything

    def text(self, content: bytes) -> str:
        """Return what these bytes say, if it can be sent; else raise a `Mistake`.

        A trailing newline and a byte order mark are no part of it. A control character in a header
        never can be sent.
        """
        content = content.removesuffix(b"\n").removesuffix(b"\r")
        if len(content) > self.longest:
            raise Mistake(f"is longer than {self.longest} bytes: {_JUST_THE_SECRET}")
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise Mistake(f"is not UTF-8 text: {_JUST_THE_SECRET}") from None
        permitted = "\r\n\t" if self.lines else ""
        if any((ord(c) < 32 or ord(c) == 127) and c not in permitted for c in text):
            raise Mistake(f"contains a line break or another control character: {_JUST_THE_SECRET}")
        return text

    def read(self, path: Path) -> str:
        """Return what a file says; raises OSError or a `Mistake`."""
        with open_at_once(path) as file:
            return self.text(file.read(self.longest + len("\r\n?")) or b"")


ONE_LINE = Kind()


@dataclass
class Secret:
    """A value that shows in no `repr`; when it came from a file, that is its `path`."""

    _given: str = field(default="", repr=False)
    path: Path | None = None
    default: str = field(default="", repr=False)
    kind: Kind = field(default=ONE_LINE, repr=False)

    def reveal(self) -> str:
        """Return the value now: its file's, or the last known where that can't be used.

        A secret that is rotated on disk takes effect without a restart, once its file is at rest.
        """
        if self.path is not None:
            with contextlib.suppress(OSError, Mistake):
                self._given = self._in_file(self.path)
        return self._given or self.default

    def _in_file(self, path: Path) -> str:
        text = settled(lambda: self.kind.read(path), self._given)
        if text and text != self._given:
            self.kind.check(text)
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
