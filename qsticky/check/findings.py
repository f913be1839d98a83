"""What `qsticky check` found, and how that is written: as text for people, as JSON for programs."""

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from ipaddress import ip_address
from typing import NamedTuple, TextIO

from qsticky import __version__
from qsticky.text import printable

WIDTH = 80
_INDENT = 11


class Verdict(StrEnum):
    """What became of one thing that was tried.

    A warning is a recommendation, and does not fail the check; unknown is what was looked at
    without an answer, and skipped what could not be tried or need not be.
    """

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


class Remedy(NamedTuple):
    """What to do in words, and the lines to copy for it."""

    text: str
    copy: tuple[str, ...] = ()


class Finding(NamedTuple):
    """One fact with its verdict; `check` is its name for programs."""

    section: str
    check: str
    verdict: Verdict
    text: str
    remedies: tuple[Remedy, ...] = ()


class Section(NamedTuple):
    """A heading, and the means to make the findings under it."""

    name: str

    def ok(self, check: str, text: str) -> Finding:
        """Make the finding of something that holds."""
        return Finding(self.name, check, Verdict.OK, text)

    def warning(self, check: str, text: str, *remedies: Remedy) -> Finding:
        """Make a recommendation."""
        return Finding(self.name, check, Verdict.WARNING, text, remedies)

    def failed(self, check: str, text: str, *remedies: Remedy) -> Finding:
        """Make the finding of something that does not hold."""
        return Finding(self.name, check, Verdict.FAILED, text, remedies)

    def unknown(self, check: str, text: str, *remedies: Remedy) -> Finding:
        """Make the finding of something that may hold or not."""
        return Finding(self.name, check, Verdict.UNKNOWN, text, remedies)

    def skipped(self, check: str, text: str) -> Finding:
        """Make the finding of something that was not tried."""
        return Finding(self.name, check, Verdict.SKIPPED, text)


def summary(findings: Sequence[Finding]) -> str:
    """Give the verdict on all of it in one line."""
    verdicts = [finding.verdict for finding in findings]
    failed, advised = verdicts.count(Verdict.FAILED), verdicts.count(Verdict.WARNING)
    if failed:
        first = " Begin with the first." if failed > 1 else ""
        warned = f" See the {_count(advised, 'warning')} too." if advised else ""
        return f"FAILED: {failed} of {len(findings)} findings.{first}{warned}"
    advice = f", with {_count(advised, 'recommendation')}" if advised else ""
    if unknown := verdicts.count(Verdict.UNKNOWN):
        is_not_known = "is not known" if unknown == 1 else "are not known"
        return f"Nothing fails, and {_count(unknown, 'thing')} {is_not_known}{advice}."
    return f"All holds{advice}."


def document(findings: Sequence[Finding]) -> dict[str, object]:
    """Make the document of `--json`, which people post: it has no public address in it."""
    return {
        "version": __version__,
        "ok": all(finding.verdict is not Verdict.FAILED for finding in findings),
        "summary": summary(findings),
        "findings": [_unaddressed(finding) for finding in findings],
    }


def write(findings: Iterable[Finding], out: TextIO, environ: Mapping[str, str]) -> list[Finding]:
    """Write each finding as soon as it is there, then the summary, and return all of them.

    In colour where `out` is a terminal, unless `environ` has NO_COLOR or a dumb one.
    """
    paint = _in_colour if _wants_colour(out, environ) else lambda text, _: text
    written: list[Finding] = []
    for finding in findings:
        last = written[-1] if written else None
        begins = last is None or last.section != finding.section
        if last and (begins or last.remedies):
            print(file=out)
        if begins:
            print(paint(finding.section, _BOLD), file=out)
        for line in _lines(finding, paint):
            print(line, file=out)
        out.flush()
        written.append(finding)
    failed = any(finding.verdict is Verdict.FAILED for finding in written)
    verdict = Verdict.FAILED if failed else Verdict.OK
    print(f"\n{paint(summary(written), _COLOURS[verdict])}", file=out, flush=True)
    return written


def without_public_addresses(text: str) -> str:
    """Write `x.x.x.x` for each address in a text that is routed on the internet."""
    return _ADDRESS.sub(lambda found: "x.x.x.x" if _is_public(found[0]) else found[0], text)


def _is_public(text: str) -> bool:
    try:
        return ip_address(text).is_global
    except ValueError:  # a time, say
        return False


def _unaddressed(finding: Finding) -> dict[str, object]:
    remedies = [
        {
            "text": without_public_addresses(remedy.text),
            "copy": [without_public_addresses(line) for line in remedy.copy],
        }
        for remedy in finding.remedies
    ]
    text = without_public_addresses(finding.text)
    return {**finding._asdict(), "text": text, "remedies": remedies}


def _lines(finding: Finding, paint: Callable[[str, str], str]) -> Iterator[str]:
    verdict = finding.verdict
    name = verdict.upper() if verdict is Verdict.FAILED else str(verdict)
    first, *rest = _wrapped(finding.text)
    yield f"  {paint(f'{name:{_INDENT - 2}}', _COLOURS[verdict])}{first}"
    yield from (" " * _INDENT + line for line in rest)
    for remedy in finding.remedies:
        yield ""
        yield from (" " * _INDENT + line for line in _wrapped(remedy.text))
        if remedy.copy:
            yield ""
        yield from (f"    {paint(printable(line), _BOLD)}" for line in remedy.copy)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        printable(text), WIDTH - _INDENT, break_long_words=False, break_on_hyphens=False
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


_BOLD = "1"
_ADDRESS = re.compile(
    r"(?<!qBittorrent )(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\.?\w)"
    r"|(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])"
)
_COLOURS = {
    Verdict.OK: "32",
    Verdict.WARNING: "33",
    Verdict.FAILED: "1;31",
    Verdict.UNKNOWN: "36",
    Verdict.SKIPPED: "2",
}


def _in_colour(text: str, colour: str) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m"


def _wants_colour(out: TextIO, environ: Mapping[str, str]) -> bool:
    return out.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
