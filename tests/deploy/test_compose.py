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
EVERY_STACK = (*STACKS, "compose.fixed-port.yaml", "compose.two.yaml")


def load(name: str) -> dict[str, Any]:
    """Read a compose file."""
    document: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return document


@pytest.mark.parametrize("others", [(), ("monitoring.yaml",)], ids=["alone", "with monitoring"])
@pytest.mark.parametrize("file", EVERY_STACK)
def test_compose_finds_no_fault_in_it(file: str, others: tuple[str, ...]) -> None:
    command = [str(Path(sys.executable).with_name("docker-compose")), "--env-file", ".env.example"]
    for name in (file, *others):
        command += ["--file", name]
    ran = subprocess.run(
        [*command, "config", "--quiet"],
        cwd=FOLDER,
        env={
            "PATH": os.environ["PATH"],
            "GRAFANA_ADMIN_PASSWORD": "chosen",
            "FORWARDED_PORT": "51218",
            "WIREGUARD_ADDRESSES": "10.128.0.2/32",
        },
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
    example = dict(
        re.findall(r"^#?(\w+)=(.+)$", (FOLDER / ".env.example").read_text(), re.MULTILINE)
    )
    for file in EVERY_STACK:
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


def test_a_fixed_port_is_let_in_and_gluetun_asked_for_nothing() -> None:
    asked, fixed = load("compose.yaml"), load("compose.fixed-port.yaml")
    port = "${FORWARDED_PORT:?set it in .env}"
    gluetun, ours = fixed["services"]["gluetun"], fixed["services"]["qsticky"]
    assert gluetun["environment"]["FIREWALL_VPN_INPUT_PORTS"] == port
    assert "VPN_PORT_FORWARDING" not in gluetun["environment"]
    assert ours["environment"].pop("FORWARDED_PORT") == port
    assert ours.pop("secrets") == ["qbittorrent_pass"]

    theirs = asked["services"]["qsticky"]
    del theirs["environment"]["GLUETUN_PORT_FILE"], theirs["volumes"], theirs["secrets"]
    assert ours == theirs
    assert fixed["services"]["qbittorrent"] == asked["services"]["qbittorrent"]


def test_two_qbittorrents_have_a_port_and_a_qsticky_each() -> None:
    two, one = load("compose.two.yaml")["services"], load("compose.yaml")["services"]
    assert two["qbittorrent"] == one["qbittorrent"]
    assert two["qsticky"]["environment"].pop("GLUETUN_PORT_INDEX") == "1"
    assert two["qsticky"] == one["qsticky"]

    second = two["qsticky-second"]
    assert second["environment"].pop("GLUETUN_PORT_INDEX") == "2"
    metrics_port = second["environment"].pop("METRICS_PORT")
    assert f"${{SECOND_QSTICKY_PORT:-10059}}:{metrics_port}" in two["gluetun"]["ports"]
    webui_port = second["environment"]["QBITTORRENT_PORT"]
    assert webui_port == two["qbittorrent-second"]["environment"]["WEBUI_PORT"]
    assert f"{webui_port}:{webui_port}" in two["gluetun"]["ports"]
    folders = [
        {volume.partition(":/")[0] for volume in two[name]["volumes"]}
        for name in ("qbittorrent", "qbittorrent-second")
    ]
    assert folders[0].isdisjoint(folders[1])
    assert two["gluetun"]["environment"]["VPN_PORT_FORWARDING_PORTS_COUNT"] == "2"


@pytest.mark.parametrize("file", EVERY_STACK)
def test_it_runs_this_version(file: str) -> None:
    services = load(file)["services"]
    ours = [services[name]["image"] for name in services if name.startswith("qsticky")]
    assert set(ours) == {f"ghcr.io/qsticky/qsticky:{__version__}"}
