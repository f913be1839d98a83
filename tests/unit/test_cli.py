"""The command line: which command does what, and what its exit code says."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import pytest

from qsticky import __version__, cli, config, daemon, healthcheck, signals
from qsticky.check import command
from qsticky.demo import player as demo
from qsticky.record import trial
from tests.end_to_end.command import qsticky_command
from tests.real import free_port, wait_until

COMMANDS = ("run", "check", "healthcheck", "notify", "demo")


@pytest.fixture(autouse=True)
def blocked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keeps the tests' own process from blocking signals; notes that it would have."""
    noted: list[str] = []
    monkeypatch.setattr(signals, "block", lambda: noted.append("blocked"))
    return noted


def qsticky(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m qsticky` with these variables set, of those that configure it."""
    own = ("QBITTORRENT_", "GLUETUN_", "METRICS_", "HEALTH_FILE", "LOG_", "CHECK_INTERVAL")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return subprocess.run(
        [sys.executable, "-m", "qsticky", *arguments],
        env={**inherited, **variables},
        capture_output=True,
        text=True,
        timeout=20,
    )


@pytest.mark.parametrize("arguments", [[], ["run"], ["demo"]])
def test_signals_are_blocked_before_anything_else_is_imported(arguments: list[str]) -> None:
    script = (
        "import signal, sys; known = set(sys.modules); sys.argv[0] = 'qsticky'\n"
        "signal.pthread_sigmask = lambda *_: sys.exit(f'{sorted(sys.modules.keys() - known)}')\n"
        "from qsticky.cli import main; main()"
    )
    run = [sys.executable, "-c", script, *arguments]
    ran = subprocess.run(run, capture_output=True, text=True, timeout=20)
    assert ran.stderr == "['qsticky', 'qsticky.cli', 'qsticky.signals']\n"


def blocked_signals(status: Path) -> int:
    """Read which signals a process has blocked, a bit for each."""
    return int(status.read_text().partition("SigBlk:")[2].split()[0], 16)


@pytest.mark.parametrize(
    ("command", "name"), [(["-m", "qsticky"], "SIGTERM"), ([qsticky_command()], "SIGINT")]
)
def test_a_signal_in_the_first_milliseconds_ends_the_daemon_with_0(
    command: list[str], name: str, tmp_path: Path
) -> None:
    ending = 1 << signal.SIGTERM - 1 | 1 << signal.SIGINT - 1
    variables = {"METRICS_PORT": f"{free_port()}", "HEALTH_FILE": f"{tmp_path}/status.json"}
    run = [sys.executable, *command]
    with subprocess.Popen(
        run, env=os.environ | variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        status = Path(f"/proc/{process.pid}/status")
        wait_until(lambda: blocked_signals(status) & ending, 20, "its signals to be blocked")
        process.send_signal(signal.Signals[name])
        printed, complained = process.communicate(timeout=20)
    assert (process.returncode, complained) == (0, b"")
    assert f"received {name}".encode() in printed


def test_the_command_line_alone_reads_the_environment() -> None:
    package = Path(cli.__file__).parent
    reading = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if re.search(r"os\.(environ|getenv)|import environ", path.read_text())
    }
    assert reading == {"cli.py"}


def test_version_is_name_and_version() -> None:
    ran = qsticky("--version")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"qsticky {__version__}\n", "")


@pytest.mark.parametrize("command", ["", *COMMANDS])
@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_help_fits_80_columns_breaks_no_name_and_names_what_there_is(
    command: str,
    columns: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(sys, "argv", ["qsticky", *filter(None, [command]), "--help"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: qsticky {command}")
    assert [line for line in text.splitlines() if len(line) > 80 or line.endswith("-")] == []
    named = set(re.findall(r"\b[A-Z]+_[A-Z_]+\b", text)) - {"NO_COLOR", "NAME_FILE"}
    variables = set(config.VARIABLES)
    assert named == variables if command == "run" else named <= variables
    if command:
        codes = re.findall(r"^  ([0-9])   \w", text, re.MULTILINE)
        assert codes == (["0", "1"] if command == "healthcheck" else ["0", "1", "2"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["dance"],
        ["--dance"],
        ["run", "fast"],
        ["run", "--fast"],
        ["healthcheck", "now"],
        ["run", "demo"],
        ["demo", "--scenario", "picnic"],
        ["demo", "--minutes", "few"],
        ["demo", "--minutes", "0"],
        ["demo", "--minutes", "inf"],
        ["demo", "--minutes", "nan"],
        [""],
        ["RUN"],
    ],
)
def test_what_it_does_not_know_is_told_on_stderr_with_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["qsticky", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "usage: qsticky" in printed.err


@pytest.mark.parametrize("arguments", [[], ["run"], ["demo"]])
def test_a_wrong_configuration_tells_every_mistake_without_a_traceback(
    arguments: list[str],
) -> None:
    ran = qsticky(
        *arguments,
        METRICS_PORT="high",
        LOG_LEVEL="magic",
        CHECK_INTERVAL="0",
        METRICS_PASSWORD="hunter2",
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    lines = ran.stderr.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("qsticky: ") for line in lines)
    for name in ("METRICS_PORT", "LOG_LEVEL", "CHECK_INTERVAL", "METRICS_USERNAME"):
        assert sum(name in line for line in lines) == 1
    assert "hunter2" not in ran.stderr


@pytest.mark.parametrize("arguments", [[], ["run"]])
@pytest.mark.parametrize("code", [0, 1])
def test_run_is_the_default_and_its_exit_code_the_daemon_s(
    arguments: list[str], code: int, blocked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configured: list[config.Config] = []

    class Recorded:
        def __init__(self, loaded: config.Config, *, revision: str) -> None:
            assert revision == "a1b2c3"
            assert blocked, "a signal could come before it is waited for"
            configured.append(loaded)

        def run(self) -> int:
            return code

    monkeypatch.setenv("QBITTORRENT_HOST", "box")
    monkeypatch.setenv("QSTICKY_REVISION", "a1b2c3")
    monkeypatch.setattr(daemon, "Daemon", Recorded)
    monkeypatch.setattr(sys, "argv", ["qsticky", *arguments])
    assert cli.main() == code
    assert [loaded.qbittorrent_host for loaded in configured] == ["box"]


@pytest.mark.parametrize(("command", "module"), [("healthcheck", healthcheck), ("demo", demo)])
@pytest.mark.parametrize("code", [0, 1])
def test_a_command_is_its_module_s_main(
    command: str, module: object, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "main", lambda *_: code)
    monkeypatch.setattr(sys, "argv", ["qsticky", command])
    assert cli.main() == code


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ([], (None, 10.0)),
        (["--scenario", "ban"], ("ban", 10.0)),
        (["--scenario", "vpn-restart", "--minutes", "0.5"], ("vpn-restart", 0.5)),
    ],
)
def test_the_demo_is_given_its_scenario(
    arguments: list[str], given: tuple[str | None, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[tuple[str | None, float]] = []

    def main(scenario: str | None, minutes: float, _: object) -> int:
        played.append((scenario, minutes))
        return 0

    monkeypatch.setattr(demo, "main", main)
    monkeypatch.setattr(sys, "argv", ["qsticky", "demo", *arguments])
    assert cli.main() == 0
    assert played == [given]


@pytest.mark.parametrize(("arguments", "as_json"), [([], False), (["--json"], True)])
@pytest.mark.parametrize("code", [0, 1, 2])
def test_a_check_can_be_interrupted_and_its_exit_code_is_kept(
    arguments: list[str],
    as_json: bool,
    code: int,
    blocked: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[bool] = []

    def main(as_json: bool, environ: Mapping[str, str]) -> int:
        assert environ is os.environ
        given.append(as_json)
        return code

    monkeypatch.setattr(command, "main", main)
    monkeypatch.setattr(sys, "argv", ["qsticky", "check", *arguments])
    assert cli.main() == code
    assert (given, blocked) == ([as_json], [])


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_findings_for_which_there_is_no_space_are_told(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "qsticky", "check", *arguments],
            env={**os.environ, "CHECK_INTERVAL": "x"},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=20,
        )
    told = "qsticky: the findings can't be written (No space left on device)\n"
    assert (ended.returncode, ended.stderr) == (1, told)


@pytest.mark.parametrize("code", [0, 1, 2])
def test_a_test_message_goes_to_the_addresses_that_are_configured(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []

    def send(urls: str) -> int:
        given.append(urls)
        return code

    (tmp_path / "addresses").write_text("json://127.0.0.1:1\njson://127.0.0.1:2\n")
    monkeypatch.setenv("NOTIFY_URLS_FILE", f"{tmp_path}/addresses")
    monkeypatch.setattr(trial, "main", send)
    monkeypatch.setattr(sys, "argv", ["qsticky", "notify"])
    assert cli.main() == code
    assert given == ["json://127.0.0.1:1\njson://127.0.0.1:2"]


def test_a_test_message_can_be_interrupted_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(_: str) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(trial, "main", interrupt)
    monkeypatch.setattr(sys, "argv", ["qsticky", "notify"])
    assert cli.main() == 130


def test_a_test_message_to_a_wrong_address_is_a_mistake_that_does_not_tell_it() -> None:
    ran = qsticky("notify", NOTIFY_URLS="ntfyy://hunter2")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "number 1 (ntfyy://)" in ran.stderr
    assert "hunter2" not in ran.stderr


def test_the_healthcheck_reaches_its_exit_code(tmp_path: Path) -> None:
    ran = qsticky("healthcheck", HEALTH_FILE=str(tmp_path / "none.json"))
    assert ran.returncode == 1
    assert ran.stderr == ""


def test_the_installed_command_is_the_same_program() -> None:
    (script,) = (
        script
        for script in metadata.distribution("qsticky").entry_points
        if script.group == "console_scripts"
    )
    assert (script.name, script.value) == ("qsticky", "qsticky.cli:main")
    assert script.load() is cli.main
