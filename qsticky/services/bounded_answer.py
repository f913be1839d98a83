"""Bounds an HTTP answer in bytes as they come off the wire, and reads its chunks strictly."""

import http.client
import io
import re
import socket
from typing import Any

LARGEST_HEAD = 64 * 1024


class UnfitAnswerError(Exception):
    """An answer that is not read on: `problem` says what is wrong with it, after "it"."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class BoundedResponse(http.client.HTTPResponse):
    """Counts an answer's bytes off the wire, and reads its chunks strictly.

    What reads from it sees no Transfer-Encoding: by itself it would take any number for a chunk's
    size, a negative one too.
    """

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._wire = _Wire(self.fp.detach())
        self.fp = io.BufferedReader(self._wire)

    def begin(self) -> None:
        """Read the head of the final answer: of provisional ones Python's own skips 100 alone."""
        super().begin()
        while 101 < self.status < 200:
            self.headers = None  # type: ignore[assignment]  # by which it knows that it has begun
            super().begin()

    def expect_body(self, limit: int) -> None:
        """Go on after the head, to a body of at most `limit` bytes."""
        self._wire.expect_body(limit)
        codings = self.headers.get_all("Transfer-Encoding", [])
        if not codings:
            lengths = {text.strip() for text in self.headers.get_all("Content-Length", [])}
            if len(lengths) > 1 or not all(map(str.isdecimal, lengths)):
                raise http.client.HTTPException("a length that is none, or several")
            return
        if len(codings) > 1 or not self.chunked:
            raise http.client.UnknownTransferEncoding
        self.chunked = False
        del self.headers["Transfer-Encoding"], self.headers["Content-Length"]
        self.fp = io.BufferedReader(_Chunks(self.fp))


class _Wire(io.RawIOBase):
    """An answer's bytes as they come, counted."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self._in_head = True
        self._begun = False
        self._limit = LARGEST_HEAD
        # A buffer is read ahead, so that some of the body may come with the head.
        self._left = LARGEST_HEAD + io.DEFAULT_BUFFER_SIZE

    def readable(self) -> bool:
        return True

    def expect_body(self, limit: int) -> None:
        self._in_head = False
        self._limit = self._left = limit

    def readinto(self, buffer: Any) -> int:
        count = self._raw.readinto(buffer) or 0
        if self._in_head and self._begun and not count:
            # `http.client` takes an answer that ends within its headers for a whole one.
            raise http.client.IncompleteRead(b"")
        self._begun = True
        self._left -= count
        if self._left < 0:
            raise too_long(self._limit, of="headers" if self._in_head else "")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Chunks(io.RawIOBase):
    """The body within a chunked answer."""

    _SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\n]*)?\r?\n")

    def __init__(self, source: io.BufferedReader) -> None:
        self._source = source
        self._left = 0
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left and not self._ended:
            self._begin_chunk()
        count = self._source.readinto(memoryview(buffer)[: self._left]) if self._left else 0
        if self._left and not count:
            raise http.client.IncompleteRead(b"")
        self._left -= count
        if count and not self._left and self._line() not in (b"\r\n", b"\n"):
            raise UnfitAnswerError("answered in chunks that don't end where they say")
        return count

    def close(self) -> None:
        self._source.close()
        super().close()

    def _begin_chunk(self) -> None:
        if not (size := self._SIZE.fullmatch(self._line())):
            raise UnfitAnswerError("answered in chunks whose size is not a number")
        self._left = int(size[1], 16)
        if not self._left:
            self._ended = True
            while self._line() not in (b"\r\n", b"\n"):
                pass  # a trailer, which nobody asked for

    def _line(self) -> bytes:
        line = self._source.readline()
        if not line.endswith(b"\n"):
            raise http.client.IncompleteRead(line)
        return line


def too_long(limit: int, of: str = "") -> UnfitAnswerError:
    """Make the error of an answer, or of a part of it, of more than so many bytes."""
    size = f"{limit // 1024**2} MiB" if limit >= 1024**2 else f"{limit // 1024} KiB"
    return UnfitAnswerError(f"answered with more than {size}{f' of {of}' if of else ''}")
