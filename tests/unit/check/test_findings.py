"""How findings are written, for people and for programs."""

import io
import re

import pytest

from qsticky.check import findings
from qsticky.check.findings import Finding, Remedy, Section, Verdict


def written(*found: Finding, terminal: bool = False, **environ: str) -> str:
    """Write findings to a terminal, or something else."""
    out = io.StringIO()
    out.isatty = lambda: terminal  # type: ignore[method-assign]
    assert findings.write(found, out, environ) == list(found)
    return out.getvalue()


SECTION = Section("Section")
LONG = "A sentence that is long enough to be broken, which is so at eighty columns, and not later"


def test_lines_are_broken_at_80_columns_with_a_hanging_indent() -> None:
    assert written(SECTION.ok("one", LONG), Section("Other").skipped("two", "Short")) == (
        "Section\n"
        "  ok       A sentence that is long enough to be broken, which is so at eighty\n"
        "           columns, and not later\n"
        "\n"
        "Other\n"
        "  skipped  Short\n"
        "\n"
        "All holds.\n"
    )


def test_what_is_to_be_copied_is_never_broken_and_stands_alone() -> None:
    copied = "NAME=" + "long " * 30
    text = written(
        SECTION.failed("one", "It fails", Remedy("Set:", (copied,)), Remedy("Or:", ("a", "b"))),
        SECTION.ok("two", "It holds"),
    )
    assert text == (
        "Section\n"
        "  FAILED   It fails\n"
        "\n"
        "           Set:\n"
        "\n"
        f"    {copied}\n"
        "\n"
        "           Or:\n"
        "\n"
        "    a\n"
        "    b\n"
        "\n"
        "  ok       It holds\n"
        "\n"
        "FAILED: 1 of 2 findings.\n"
    )


@pytest.mark.parametrize(
    ("environment", "colours"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colours_are_for_terminals_that_want_them(
    environment: dict[str, str], colours: bool
) -> None:
    finding = SECTION.warning("one", LONG)
    plain, coloured = written(finding), written(finding, terminal=True, **environment)
    assert ("\x1b[" in coloured) is colours
    assert "\x1b[" not in plain
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain


def test_what_would_act_on_a_terminal_is_written_as_an_escape() -> None:
    text = written(SECTION.failed("one", "a\x1b[2Jb \udcff", Remedy("Set:", ("c\rd",))))
    assert "a\\x1b[2Jb \\udcff" in text
    assert "c\\rd" in text


@pytest.mark.parametrize(
    ("verdicts", "summary"),
    [
        ([], "All holds."),
        (["ok", "skipped"], "All holds."),
        (["ok", "warning"], "All holds, with 1 recommendation."),
        (["warning", "warning"], "All holds, with 2 recommendations."),
        (["ok", "unknown"], "Nothing fails, and 1 thing is not known."),
        (
            ["unknown", "unknown", "warning"],
            "Nothing fails, and 2 things are not known, with 1 recommendation.",
        ),
        (["ok", "failed"], "FAILED: 1 of 2 findings."),
        (["unknown", "failed"], "FAILED: 1 of 2 findings."),
        (["failed", "failed"], "FAILED: 2 of 2 findings. Begin with the first."),
        (["failed", "warning"], "FAILED: 1 of 2 findings. See the 1 warning too."),
    ],
)
def test_the_summary_is_one_line(verdicts: list[str], summary: str) -> None:
    found = [Finding("A", "b", Verdict(verdict), "c") for verdict in verdicts]
    assert findings.summary(found) == summary
    assert findings.document(found)["ok"] is not summary.startswith("FAILED")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("seen at 9.9.9.9, not 8.8.8.8.", "seen at x.x.x.x, not x.x.x.x."),
        ("http://9.9.9.9:8080 answers", "http://x.x.x.x:8080 answers"),
        ('IP: "2a00:1450::7". Port: "TCP/51500"', 'IP: "x.x.x.x". Port: "TCP/51500"'),
        ("http://[2a00::1]:8080, fe80::1, ::1", "http://[x.x.x.x]:8080, fe80::1, ::1"),
        ("tun0 has 10.2.0.2, 100.64.3.4, fd00::2", "tun0 has 10.2.0.2, 100.64.3.4, fd00::2"),
        ("127.0.0.1, 0.0.0.0, ::, 172.17.0.1", "127.0.0.1, 0.0.0.0, ::, 172.17.0.1"),
        (
            "opened at 12:03:45 by qBittorrent 5.1.0.11",
            "opened at 12:03:45 by qBittorrent 5.1.0.11",
        ),
        ("999.1.1.1 and 1.2.3", "999.1.1.1 and 1.2.3"),
    ],
)
def test_the_document_which_people_post_has_no_public_address(text: str, written: str) -> None:
    finding = SECTION.failed("one", text, Remedy(text, (text,)))
    told = findings.document([finding])["findings"]
    remedy = {"text": written, "copy": [written]}
    assert told == [
        {
            "section": "Section",
            "check": "one",
            "verdict": "failed",
            "text": written,
            "remedies": [remedy],
        }
    ]
