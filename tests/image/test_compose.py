"""The compose files, with stand-ins for Gluetun and qBittorrent, and qSticky as they have it."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.image.engine import ROOT, Engine
from tests.real import wait_until

FOLDER = ROOT / "deploy/compose"
PASSWORD = "a password of the user's own"
FORWARDED = 41537

# In place of the two images that are not at hand. Nothing is published, and no VPN is opened.
STAND_INS = """
services:
  gluetun:
    image: {image}
    user: "0"
    entrypoint: [python, /stand_ins.py, gluetun]
    volumes: ["{program}:/stand_ins.py:ro"]
    cap_add: !reset []
    devices: !reset []
    ports: !reset []
    healthcheck: {{test: [CMD, cat, /tmp/gluetun/forwarded_port], interval: 1s}}
    network_mode: {network}
  qbittorrent:
    image: {image}
    entrypoint: [python, /stand_ins.py, qbittorrent]
    environment: {{PASSWORD: "{password}"}}
    volumes: ["{program}:/stand_ins.py:ro"]
    healthcheck: {{disable: true}}
  qsticky:
    environment: {{CHECK_INTERVAL: "2"}}
    ports: !reset []
    healthcheck: {{interval: 1s}}
networks: {{default: {{internal: true}}}}
"""


class Stack:
    """The stack of one compose file in a user's folder, set up as README.md there says."""

    def __init__(
        self,
        engine: Engine,
        image: str,
        folder: Path,
        file: str,
        *,
        gluetuns_network: str = "!reset null",
    ) -> None:
        self.engine = engine
        self._folder = folder
        for name in (file, ".env.example"):
            shutil.copy(FOLDER / name, folder)
        commands = (FOLDER / "README.md").read_text().partition("```sh\n")[2].partition("```")[0]
        engine.run(["sh", "-euc", commands], folder=folder)
        secrets = folder / "secrets"
        (secrets / "wireguard_private_key").write_text("a private key\n")
        (secrets / "qbittorrent_pass").write_text(PASSWORD + "\n")
        for path in secrets.iterdir():
            path.chmod(0o600)
            shutil.chown(path, 1000, 1000)
        program = ROOT / "tests/image/stand_ins.py"
        override = STAND_INS.format(
            image=image, program=program, password=PASSWORD, network=gluetuns_network
        )
        (folder / "stand-ins.yaml").write_text(override)
        self._command = [str(Path(sys.executable).with_name("docker-compose"))]
        self._command += ["--file", file, "--file", "stand-ins.yaml", "--progress=quiet"]

    def __call__(self, *arguments: str, **variables: str) -> str:
        """Run a command of compose, with variables that go before those in `.env`."""
        command = [*self._command, *arguments]
        return self.engine.run(command, timeout=60, folder=self._folder, variables=variables)

    def up(self, **variables: str) -> None:
        """Start it all, or what has changed, and wait until it is healthy."""
        self("up", "--detach", "--wait", "--wait-timeout=40", **variables)

    def container(self, service: str) -> dict[str, Any]:
        """Describe a service's container."""
        return self.engine.inspect(self("ps", "--all", "--quiet", service).strip())

    def health(self) -> dict[str, Any]:
        """Read qSticky's health document."""
        document: dict[str, Any] = json.loads(
            self("exec", "-T", "qsticky", "cat", "/tmp/health/status.json")
        )
        return document

    def wait_until_synced(self) -> None:
        """Wait until qSticky is healthy at the sight of both, however it was before."""

        def synced() -> bool:
            state = self.container("qsticky")["State"]
            if not state["Running"] or state["Health"]["Status"] != "healthy":
                return False
            document = self.health()
            seen = document["status"], document["services"]["gluetun"]["connected"]
            return seen == ("synced", True)

        wait_until(synced, 20, "qSticky to be in sync with both")


Start = Callable[..., Stack]


@pytest.fixture
def start(engine: Engine, image: str, tmp_path: Path) -> Iterator[Start]:
    """Starts the stack of a compose file."""
    with ExitStack() as running:

        def start_one(file: str, **options: str) -> Stack:
            stack = Stack(engine, image, tmp_path, file, **options)
            running.callback(stack, "down", "--volumes", "--timeout=5")
            stack.up()
            return stack

        yield start_one


def assert_in_sync(stack: Stack) -> None:
    """Check that both services are reached as the file says, and all hardening is in force."""
    stack.wait_until_synced()
    document = stack.health()
    assert document["forwarded_port"] == document["current_port"] == FORWARDED
    assert stack("exec", "-T", "qsticky", "cat", "/gluetun/forwarded_port") == str(FORWARDED)
    logs = stack("logs", "--no-log-prefix", "qsticky")
    assert PASSWORD not in logs
    container = stack.container("qsticky")
    assert PASSWORD not in json.dumps(container)
    assert container["Config"]["User"] == "1000:1000"
    host = container["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Memory"] == 64 << 20
    assert host["PidsLimit"] == 64
    assert host["RestartPolicy"]["Name"] == "unless-stopped"


def test_in_gluetuns_network_it_follows_gluetun_into_a_new_container(start: Start) -> None:
    stack = start("compose.yaml", gluetuns_network="none")  # no more than its loopback
    assert_in_sync(stack)
    first = stack.container("gluetun")["Id"]
    assert stack.container("qsticky")["HostConfig"]["NetworkMode"] == f"container:{first}"

    stack.up(SERVER_COUNTRIES="Iceland")  # a changed setting, as an update is
    second = stack.container("gluetun")["Id"]
    assert second != first
    assert stack.container("qsticky")["HostConfig"]["NetworkMode"] == f"container:{second}"
    stack.wait_until_synced()

    stack("restart", "gluetun")  # which gives it another network namespace
    stack.wait_until_synced()


def test_in_a_network_of_its_own_it_outlives_gluetuns_container(start: Start) -> None:
    stack = start("compose.shared-network.yaml")
    assert_in_sync(stack)
    before = stack.container("qsticky")
    started = json.loads(stack("logs", "--no-log-prefix", "qsticky").splitlines()[0])
    assert started["gluetun_url"] == "http://gluetun:8000"
    assert started["qbittorrent_url"] == "http://gluetun:8080"

    gluetun = stack.container("gluetun")["Id"]
    stack.up(SERVER_COUNTRIES="Iceland")
    assert stack.container("gluetun")["Id"] != gluetun
    stack.wait_until_synced()
    after = stack.container("qsticky")
    assert (after["Id"], after["State"]["StartedAt"]) == (
        before["Id"],
        before["State"]["StartedAt"],
    )
