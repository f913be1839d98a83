"""Starts a Docker engine of its own, and runs containers on it."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from qsticky import __version__
from tests.real import missing, own_mounts, require, wait_until

ROOT = Path(__file__).parents[2]
BASE_IMAGE = "python:3.13-slim"
REVISION = "0123456789abcdef0123456789abcdef01234567"
BOUND = 30  # seconds


class Engine:
    """A Docker engine with its data in a temporary folder; a context manager.

    It makes no bridge and no firewall rules: containers have the host's network or none, or one
    that a test makes. What runs in it ends with it.
    """

    def __init__(self) -> None:
        if os.geteuid() != 0:
            missing("root, to start a Docker engine; `make image-test` asks sudo for it")
        self._dockerd = require("dockerd", "docker", "mmdebstrap")
        self._docker = require("docker")
        # Not below pytest's folder: the path of a socket has no room for that.
        self._folder = Path(tempfile.mkdtemp(prefix="qsticky-engine-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            # Where /tmp is an overlay itself, as in a container, there can't be another on it.
            if not self._start("overlay2") and not self._start("vfs"):
                raise AssertionError(f"dockerd does not start:\n{self._log.read_text()[-2000:]}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._process and (containers := self.docker("ps", "--all", "--quiet").split()):
                self.docker("rm", "--force", "--volumes", *containers)
        finally:
            if self._process:
                self._end()
            shutil.rmtree(self._folder)

    @property
    def environment(self) -> dict[str, str]:
        """What makes Docker's clients talk to this engine."""
        own = {"DOCKER_HOST": f"unix://{self._folder}/docker.sock", "DOCKER_BUILDKIT": "0"}
        return {"PATH": os.environ["PATH"], "HOME": str(self._folder), **own}

    def docker(self, *arguments: str, timeout: float = BOUND) -> str:
        """Run the docker client; returns what it printed, and raises unless that worked."""
        return self.run([self._docker, *arguments], timeout)

    def run(
        self,
        command: Sequence[str],
        timeout: float = BOUND,
        folder: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> str:
        """Run any client of this engine, as `docker` does."""
        ran = subprocess.run(
            command,
            cwd=folder,
            env=self.environment | dict(variables or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert ran.returncode == 0, f"{' '.join(command)}: {ran.returncode}\n{ran.stdout[-4000:]}"
        return ran.stdout

    def inspect(self, name: str) -> dict[str, Any]:
        """Describe an image or a container."""
        description: dict[str, Any] = json.loads(self.docker("inspect", name))[0]
        return description

    def _start(self, storage: str) -> bool:
        paths = {"--data-root": "data", "--exec-root": "exec", "--pidfile": "pid"}
        # With mounts of its own, so that all it mounts goes with it.
        command = [*own_mounts(), self._dockerd, f"--host=unix://{self._folder}/docker.sock"]
        command += [f"{option}={self._folder / name}" for option, name in paths.items()]
        command += [f"--storage-driver={storage}", "--bridge=none"]
        command += ["--iptables=false", "--ip6tables=false"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        wait_until(lambda: self._answers() or self._ended(), BOUND, "dockerd to answer or end")
        if self._answers():
            return True
        self._process = None
        return False

    @property
    def _log(self) -> Path:
        return self._folder / "log"

    def _ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def _answers(self) -> bool:
        command = [self._docker, "version"]
        return not subprocess.run(
            command, env=self.environment, capture_output=True, check=False, timeout=BOUND
        ).returncode

    def _end(self) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(BOUND)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Container:
    """A container of the image on an engine; a context manager.

    ``options`` are those of `docker run`. It has the host's network, and serves on loopback only,
    where ``variables`` say.
    """

    def __init__(
        self,
        engine: Engine,
        image: str,
        variables: Mapping[str, object],
        options: Iterable[str] = (),
        command: Iterable[str] = (),
    ) -> None:
        self.engine = engine
        given = [f"--env={name}={value}" for name, value in variables.items()]
        self._run = ["run", "--detach", "--network=host", *given, *options, image, *command]
        self.id = ""

    def __enter__(self) -> Self:
        self.id = self.engine.docker(*self._run).strip()
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.docker("rm", "--force", "--volumes", self.id)

    @property
    def state(self) -> dict[str, Any]:
        """Its state, health included, as the engine tells it."""
        state: dict[str, Any] = self.engine.inspect(self.id)["State"]
        return state

    @property
    def logs(self) -> str:
        """What it has printed."""
        return self.engine.docker("logs", self.id)

    def execute(self, *command: str) -> str:
        """Run a command in it to its end, which has to be 0."""
        return self.engine.docker("exec", self.id, *command)

    def wait_for_health(self, wanted: str, timeout: float = BOUND) -> float:
        """Wait until Docker calls it healthy or unhealthy; returns the seconds since now."""
        began = time.monotonic()
        try:
            wait_until(lambda: self.state["Health"]["Status"] == wanted, timeout, wanted)
        except AssertionError as error:
            error.add_note(json.dumps(self.state, indent=1))
            error.add_note(self.logs)
            raise
        return time.monotonic() - began

    def stop(self) -> tuple[int, float]:
        """Stop it as `docker stop` does; returns its exit code and how many seconds it took."""
        began = time.monotonic()
        self.engine.docker("stop", self.id)
        took = time.monotonic() - began
        return self.state["ExitCode"], took


def build(engine: Engine) -> str:
    """Build the repository's Dockerfile as it is, on a stand-in for its base; returns the image.

    The base is Debian's Python: no image registry has to be in reach.
    """
    made = subprocess.run(
        [ROOT / "tests/image/stand-in"], stdout=subprocess.PIPE, text=True, timeout=240, check=True
    )
    change = "--change=ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
    engine.docker("import", change, made.stdout.strip(), BASE_IMAGE, timeout=120)
    image = f"ghcr.io/qsticky/qsticky:{__version__}"
    engine.docker(
        "build",
        "--network=host",
        f"--build-arg=REVISION={REVISION}",
        f"--tag={image}",
        str(ROOT),
        timeout=300,
    )
    return image
