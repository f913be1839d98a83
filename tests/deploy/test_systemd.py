"""The systemd unit: what systemd says of it, and what becomes of it under a systemd that runs."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import qsticky
from tests.deploy.machine import Machine
from tests.real import missing, require, wait_until

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "systemd" / "qsticky.service"
PAGE = (ROOT / "docs" / "systemd.md").read_text()
SECRETS = {"qbittorrent_pass": "the password", "gluetun_apikey": "the-key-of-the-role"}


def analyze(*arguments: str) -> str:
    """Run systemd-analyze, and return what it printed."""
    command = [require("systemd-analyze"), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return ran.stdout + ran.stderr


def test_systemd_has_nothing_to_say_about_the_unit(tmp_path: Path) -> None:
    installed = tmp_path / "usr/local/bin/qsticky"
    installed.parent.mkdir(parents=True)
    installed.symlink_to("/bin/true")
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/usr/local/bin/qsticky", str(installed)))
    assert analyze("verify", "--man=no", str(copy)) == ""


def test_its_exposure_is_what_the_page_says() -> None:
    quoted = re.search(r"systemd (\d+) says .*?```text\n→ (.*?)\n```", PAGE, re.DOTALL)
    assert quoted
    if f"systemd {quoted[1]} " not in analyze("--version"):
        missing(f"systemd {quoted[1]}, whose figure the page has")
    assert quoted[2] in analyze("security", "--offline=yes", str(UNIT))


class Unit:
    """The unit on a machine that runs, between a simulated Gluetun and qBittorrent."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def property(self, name: str) -> str:
        """Ask systemd."""
        show = ("systemctl", "show", "--value", f"--property={name}", "qsticky")
        return self.machine.run(*show).strip()

    def of_process(self, file: str) -> str:
        """Read a file about its process."""
        return self.machine.run("cat", f"/proc/{self.property('MainPID')}/{file}")

    def healthcheck(self) -> str:
        """Run `qsticky healthcheck`, as people on that machine do."""
        health_file = "HEALTH_FILE=/run/qsticky/status.json"
        return self.machine.run("env", health_file, "qsticky", "healthcheck", check=False)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if os.geteuid() != 0:
        missing("root, to boot systemd in namespaces of its own")
    machine = Machine(tmp_path_factory.mktemp("machine"))
    install(machine.upper)
    with machine:
        stage = [*machine.in_its_network(), sys.executable, "-m", "tests.deploy.stage"]
        answers = subprocess.Popen(
            [*stage, SECRETS["gluetun_apikey"], SECRETS["qbittorrent_pass"]],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with answers:
            assert answers.stdout
            assert answers.stdout.readline() == b"both answer\n"
            yield machine
            answers.kill()


def install(root: Path) -> None:
    """Install qSticky as docs/systemd.md says, but for pipx, whose part links do."""
    units, settings, programs = (
        root / name for name in ("etc/systemd/system", "etc/qsticky", "usr/local/bin")
    )
    for folder in (units, settings, programs):
        folder.mkdir(parents=True)
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    shutil.copy(UNIT, units)
    shutil.copy(UNIT.with_name("qsticky.env"), settings)
    for name, secret in SECRETS.items():
        (settings / name).write_text(secret + "\n")
        (settings / name).chmod(0o600)
    shutil.copytree(Path(qsticky.__file__).parent, root / "opt/qsticky/qsticky")
    command = programs / "qsticky"
    command.write_text(
        "#!/bin/sh\n"
        "export PYTHONPATH=/opt/qsticky:/opt/packages PYTHONDONTWRITEBYTECODE=1\n"
        'exec python3 -m qsticky "$@"\n'
    )
    command.chmod(0o755)


@pytest.fixture
def unit(machine: Machine) -> Iterator[Unit]:
    machine.run("systemctl", "reset-failed", "qsticky", check=False)
    machine.run("systemctl", "start", "qsticky")
    unit = Unit(machine)
    try:
        wait_until(lambda: unit.healthcheck() == "healthy\n", 20, "qSticky to be healthy")
    except AssertionError as error:
        error.add_note(unit.healthcheck() + machine.journal())
        raise
    yield unit
    machine.run("systemctl", "stop", "qsticky")


def test_it_does_its_work_with_no_rights_at_all(unit: Unit) -> None:
    status = dict(line.split(":\t", 1) for line in unit.of_process("status").splitlines())
    assert int(status["Uid"].split()[0]) > 1000
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert int(status["VmRSS"].split()[0]) < 64 * 1024
    journal = unit.machine.journal()
    assert "Successfully updated port to 51500" in journal
    assert '"level": "warning"' not in journal  # as when netlink is refused


def test_its_secrets_are_files_that_it_alone_reads(unit: Unit) -> None:
    seen = unit.of_process("environ") + unit.machine.journal()
    assert "QBITTORRENT_PASS_FILE=/run/credentials/qsticky.service/qbittorrent_pass" in seen
    assert not any(secret in seen for secret in SECRETS.values())


def test_its_process_metrics_are_not_hidden_from_it(unit: Unit) -> None:
    fetch = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"
    metrics = unit.machine.run("python3", "-c", fetch, "http://localhost:10058/metrics")
    assert "process_resident_memory_bytes" in metrics
    assert "qsticky_in_sync 1.0" in metrics


def test_it_stops_at_once_and_cleanly(unit: Unit) -> None:
    unit.machine.run("systemctl", "stop", "qsticky")
    assert unit.property("Result") == "success"
    assert "no health file" in unit.healthcheck()


def test_killed_it_is_started_again(unit: Unit) -> None:
    unit.machine.run("systemctl", "kill", "--signal=KILL", "qsticky")
    wait_until(lambda: unit.property("SubState") == "auto-restart", 10, "systemd to notice")


def test_with_a_wrong_configuration_it_is_not_started_over_and_over(unit: Unit) -> None:
    run = unit.machine.run
    run("systemctl", "stop", "qsticky")
    run("sh", "-c", "echo PORT_GRACE=long >> /etc/qsticky/qsticky.env")
    run("systemctl", "start", "qsticky")
    wait_until(lambda: unit.property("ActiveState") == "failed", 10, "the unit to fail")
    run("sed", "--in-place", "/PORT_GRACE/d", "/etc/qsticky/qsticky.env")
    assert (unit.property("ExecMainStatus"), unit.property("NRestarts")) == ("2", "0")
    assert "PORT_GRACE: 'long'" in unit.machine.journal()
