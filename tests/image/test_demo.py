"""README's command for a first look by Docker."""

import re
import shlex

from tests.image.engine import ROOT, Engine
from tests.real import wait_until

ASK = """
from urllib.request import urlopen
try:
    print(urlopen('http://127.0.0.1:10058/').read().decode())
except OSError as error:
    print(error)
"""


def command_of_readme(image: str) -> list[str]:
    """The arguments of README's `docker run` of a demo, with this image in place of the release."""
    [block] = re.findall(
        r"^docker run (.*?) demo$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    *options, released = shlex.split(block.replace("\\\n", " "))
    assert released.startswith("ghcr.io/qsticky/qsticky:")
    return [*options, image, "demo"]


def test_the_demo_runs_in_a_container_as_readme_says(engine: Engine, image: str) -> None:
    arguments = command_of_readme(image)
    # The tests' engine makes no bridge to publish a port at.
    published = arguments.index("--publish")
    assert arguments[published + 1] == "10058:10058"
    arguments[published : published + 2] = ["--network", "none"]
    container = engine.docker("run", "--detach", *arguments).strip()

    def page() -> str:
        return engine.docker("exec", container, "python", "-c", ASK)

    wait_until(lambda: "Peers can connect" in page(), 30, "the demo's page")
    environment = engine.inspect(container)["Config"]["Env"]
    assert "METRICS_ADDRESS=0.0.0.0" in environment
    engine.docker("stop", container)

    def left() -> str:
        return engine.docker("ps", "--all", "--quiet", "--filter", f"id={container}")

    wait_until(lambda: not left(), 30, "the container to be removed")  # by --rm
