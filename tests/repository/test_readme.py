"""Holds the README to the code: what it shows can be copied, and what it names exists."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

from qsticky.config import VARIABLES, load

README = (Path(__file__).parents[2] / "README.md").read_text()

# What people have already, to which the README's services are added.
PRESENT = """
services:
  gluetun: {image: qmcgaw/gluetun}
  qbittorrent: {image: lscr.io/linuxserver/qbittorrent}
"""


def block(language: str) -> str:
    """Return the one block of code in a language."""
    [found] = re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert isinstance(found, str)
    return found


def test_compose_takes_what_is_to_be_added(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("docker-compose"))]
    for name, text in {"present.yaml": PRESENT, "added.yaml": block("yaml")}.items():
        (tmp_path / name).write_text(text)
        command += ["--file", name]
    ran = subprocess.run(
        [*command, "config", "--quiet"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ran.returncode, ran.stderr, ran.stdout) == (0, "", "")


def test_the_example_is_a_configuration_and_the_same_key_stands_in_each_place(
    tmp_path: Path,
) -> None:
    services = yaml.safe_load(block("yaml"))["services"]
    ours = services["qsticky"]["environment"]
    ours = {name: str(value) for name, value in ours.items()}
    assert load(ours, tmp_path).unread == ()
    key = ours["GLUETUN_APIKEY"]
    assert f'"{key}"' in services["gluetun"]["environment"]["HTTP_CONTROL_SERVER_AUTH_DEFAULT_ROLE"]
    [role] = tomllib.loads(block("toml"))["roles"]
    assert role["apikey"] == key


def test_the_settings_are_variables_with_their_defaults() -> None:
    known = {name: variable.default for name, variable in VARIABLES.items()}
    table = README.partition("\n## Settings\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\|(.*?`.*?)\|(.*?)\|", table, re.MULTILINE)
    assert len(rows) > 5
    for names, defaults in rows:
        variables = re.findall(r"`(\w+)`", names)
        expected = [known[name] for name in variables if known[name]]
        assert re.findall(r"`([^`]+)`", defaults) == expected, names
