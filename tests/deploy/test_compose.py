"""The compose files as files: valid, and in step with each other and what is beside them."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from qsticky import __version__

FOLDER = Path(__file__).parents[2] / "deploy/compose"
STACKS = ("compose.yaml", "compose.shared-network.yaml")


def load(name: str) -> dict[str, Any]:
    """Read a compose file."""
    document: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return document


@pytest.mark.parametrize("others", [(), ("monitoring.yaml",)], ids=["alone", "with monitoring"])
@pytest.mark.parametrize("file", STACKS)
def test_compose_finds_no_fault_in_it(file: str, others: tuple[str, ...]) -> None:
    command = [str(Path(sys.executable).with_name("docker-compose")), "--env-file", ".env.example"]
    for name in (file, *others):
        command += ["--file", name]
    ran = subprocess.run(
        [*command, "config", "--quiet"],
        cwd=FOLDER,
        env={"PATH": os.environ["PATH"], "GRAFANA_ADMIN_PASSWORD": "chosen"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ran.returncode, ran.stderr, ran.stdout) == (0, "", "")


def test_the_example_environment_has_every_variable_that_is_used_and_no_other() -> None:
    used = {
        name
        for file in FOLDER.glob("*.yaml")
        for name in re.findall(r"\$\{(\w+)", file.read_text())
    }
    example = (FOLDER / ".env.example").read_text()
    assert set(re.findall(r"^#?(\w+)=", example, re.MULTILINE)) == used


def test_the_example_environment_is_what_holds_without_one() -> None:
    example = dict(re.findall(r"^(\w+)=(.+)$", (FOLDER / ".env.example").read_text(), re.MULTILINE))
    for file in STACKS:
        for name, default in re.findall(r"\$\{(\w+):-([^}]+)\}", (FOLDER / file).read_text()):
            assert example[name] == default


def test_both_stacks_differ_only_in_where_qsticky_is() -> None:
    beside, apart = map(load, STACKS)
    page = "${QSTICKY_PORT:-10058}:10058"
    beside["services"]["gluetun"]["ports"].remove(page)
    ours, theirs = beside["services"].pop("qsticky"), apart["services"].pop("qsticky")
    assert beside == apart

    assert ours.pop("network_mode") == "service:gluetun"
    assert theirs.pop("ports") == [page]
    assert theirs["environment"].pop("GLUETUN_HOST") == "gluetun"
    assert theirs["environment"].pop("QBITTORRENT_HOST") == "gluetun"
    assert ours["depends_on"]["gluetun"].pop("restart") is True
    assert ours == theirs


@pytest.mark.parametrize("file", STACKS)
def test_it_runs_this_version(file: str) -> None:
    image = load(file)["services"]["qsticky"]["image"]
    assert image == f"ghcr.io/qsticky/qsticky:{__version__}"
