"""`qsticky check` as a whole: it changes nothing, and no section ends another."""

import inspect
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from qsticky import config, hints
from qsticky.check import command, configuration, listening, running_daemon, webui
from qsticky.check import gluetun as gluetun_section
from qsticky.check.findings import Finding, Remedy, Verdict
from qsticky.demo.gluetun_simulator import OLD_PORT_ROUTE, GluetunSimulator
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from qsticky.kernel import netlink
from tests.fakes import FakeKernel
from tests.unit.check.conftest import KEY, PAGE, PEER, PORT, Examine, documented
from tests.unit.check.test_findings import written

SECTIONS = (configuration, gluetun_section, webui, listening, running_daemon)
BEGIN, END = "<!-- example: begin -->\n", "<!-- example: end -->\n"


def test_where_all_holds_there_is_nothing_to_do(
    examine: Examine,
    gluetun: GluetunSimulator,
    qbittorrent: QBittorrentSimulator,
    kernel: FakeKernel,
    health_file: Path,
) -> None:
    qbittorrent.connection_status = "connected"
    qbittorrent.external_address = gluetun.public_ip
    kernel.connections = [PEER]
    before = dict(qbittorrent.preferences)
    found = examine()
    assert {finding.verdict for finding in found.all} == {Verdict.OK, Verdict.SKIPPED}
    assert found.by(Verdict.SKIPPED) == ["port_file", "daemon"]
    assert [finding.remedies for finding in found.all if finding.remedies] == []
    assert qbittorrent.preferences == before
    assert not health_file.parent.exists()


def test_it_logs_in_once_and_out_again_and_sets_nothing(
    examine: Examine, qbittorrent: QBittorrentSimulator
) -> None:
    examine()
    posts = [line for line in qbittorrent.requests if line.startswith("POST")]
    assert posts == ["POST /api/v2/auth/login", "POST /api/v2/auth/logout"]


def test_every_documented_check_is_one_that_it_makes() -> None:
    source = "".join(inspect.getsource(module) for module in (command, *SECTIONS))
    assert [name for name in documented() if f'"{name}"' not in source] == []


@pytest.mark.parametrize(
    ("of", "name"),
    [
        (netlink, "interface"),
        (hints, "advice"),
        (running_daemon, "_bind"),
        (running_daemon, "_content"),
        (webui, "make_qbittorrent"),
        (gluetun_section, "open_at_once"),
    ],
)
def test_an_internal_error_ends_no_other_check_and_tells_no_secret(
    examine: Examine,
    kernel: FakeKernel,
    qbittorrent: QBittorrentSimulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    of: object,
    name: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("hunter2")

    file = tmp_path / "forwarded_port"
    file.write_text(str(PORT))
    whole = examine(GLUETUN_PORT_FILE=file)
    qbittorrent.requests.clear()
    monkeypatch.setattr(of if of is not netlink else kernel, name, fail)
    found = examine(GLUETUN_PORT_FILE=file)
    assert found.failed
    assert {finding.section for finding in found.all} == {f.section for f in whole.all}
    internal = [finding for finding in found.all if finding.check == "internal"]
    assert internal
    assert "KeyError at test_command.py:" in internal[0].text
    assert "hunter2" not in repr(found.all)
    if of is running_daemon:  # a running daemon may have been refused: nobody knows
        assert ("POST /api/v2/auth/login" in qbittorrent.requests) is (name == "_bind")


def run(capsys: pytest.CaptureFixture[str], *, as_json: bool, **environ: str) -> tuple[int, str]:
    code = command.main(as_json, environ)
    printed = capsys.readouterr()
    assert printed.err == ""
    return code, printed.out


@pytest.mark.parametrize("as_json", [False, True])
def test_every_mistake_of_the_configuration_is_told_at_once_and_no_secret_in_it(
    capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    wrong = {
        "QBITTORRENT_PORT": "high",
        "QBITTORRENT_HOST": "http://me:hunter2@box:8080",
        "QBITTORRENT_PASS_FILE": "hunter2",
        "METRICS_PASSWORD": "hunter2",
    }
    code, out = run(capsys, as_json=as_json, **wrong)
    assert code == 2
    assert "hunter2" not in out
    if as_json:
        told = [(each["check"], each["verdict"]) for each in json.loads(out)["findings"]]
        assert told == [("mistake", "failed")] * len(wrong)
        assert json.loads(out)["ok"] is False
    else:
        assert out.count("FAILED   ") == len(wrong)


@pytest.mark.parametrize("verdict", ["ok", "failed"])
def test_the_exit_code_and_the_document_say_the_same(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verdict: str,
) -> None:
    finding = Finding("A", "b", Verdict(verdict), "c", (Remedy("d", ("e", "f")),))
    monkeypatch.setattr(command, "examine", lambda _: iter([finding]))
    code, out = run(capsys, as_json=True)
    assert code == (verdict == "failed")
    read = json.loads(out)
    assert read.keys() == {"version", "ok", "summary", "findings"}
    assert read["findings"] == [
        {
            "section": "A",
            "check": "b",
            "verdict": verdict,
            "text": "c",
            "remedies": [{"text": "d", "copy": ["e", "f"]}],
        }
    ]
    fields = set(re.findall(r"^\| `(?:findings.*\.)?(\w+)`", PAGE.read_text(), re.MULTILINE))
    assert {*read, *read["findings"][0], *read["findings"][0]["remedies"][0]} <= fields
    assert run(capsys, as_json=False)[0] == code


def test_an_interrupt_ends_it_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(_: object) -> Iterator[Finding]:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "examine", interrupt)
    assert run(capsys, as_json=False) == (130, "")


def test_the_example_in_the_documentation_is_what_it_writes(
    examine: Examine, qbittorrent: QBittorrentSimulator, tmp_path: Path
) -> None:
    qbittorrent.preferences["current_network_interface"] = ""
    with GluetunSimulator(api_key=KEY, ports=[PORT], routes=[OLD_PORT_ROUTE]) as outdated:
        found = examine(GLUETUN_PORT=outdated.port, QBITTORRENT_PASS="adminadmin")

    def usual(finding: Finding) -> Finding:
        text = finding.text.replace(f"{tmp_path}", "/tmp").replace("127.0.0.1", "localhost")
        for port, known in ((outdated.port, 8000), (qbittorrent.port, 8080)):
            text = text.replace(f"localhost:{port}", f"localhost:{known}")
        text = re.sub(r"METRICS_PORT \d+", "METRICS_PORT 10058", text)
        text = re.sub(r"The other \d+", f"The other {len(config.VARIABLES) - 2}", text)
        return finding._replace(text=text)

    secrets = ("GLUETUN_APIKEY", "QBITTORRENT_PASS")
    shown = [
        usual(finding)
        for finding in found.all
        if finding.check != "setting" or finding.text.startswith(secrets)
    ]
    example = f"```text\n{written(*shown)}```\n"
    page = PAGE.read_text()
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(page.partition(BEGIN)[0] + BEGIN + example + END + page.partition(END)[2])
    assert PAGE.read_text().partition(BEGIN)[2].partition(END)[0] == example
