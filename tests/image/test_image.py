"""What is in the image, and what is not."""

import re

import pytest

from qsticky import HOME, __version__
from tests.image.engine import BASE_IMAGE, REVISION, ROOT, Engine

MEGABYTE = 1_000_000
COMPILERS = ("cc", "c++", "gcc", "g++", "clang", "ld", "make", "cargo", "go")


def run(engine: Engine, image: str, *command: str) -> str:
    """Run another command than the image's own in a container, as root."""
    program, *arguments = command
    options = ["--rm", "--network=none", "--user=0", f"--entrypoint={program}"]
    return engine.docker("run", *options, image, *arguments)


def test_it_adds_little_to_its_base(engine: Engine, image: str, figures: dict[str, str]) -> None:
    ours, base = engine.inspect(image), engine.inspect(BASE_IMAGE)
    added = ours["Size"] - base["Size"]
    layers = [len(one["RootFS"]["Layers"]) for one in (ours, base)]
    figures["size over its base"] = f"{added / MEGABYTE:.1f} MB"
    figures["layers over its base"] = f"{layers[0] - layers[1]}"
    assert added <= 30 * MEGABYTE
    assert layers[0] - layers[1] == 2


def test_it_says_what_it_is_and_how_to_run_it(engine: Engine, image: str) -> None:
    config = engine.inspect(image)["Config"]
    prefix = "org.opencontainers.image."
    labels = {name.removeprefix(prefix): text for name, text in config["Labels"].items()}
    assert labels.pop("description").startswith("Keeps qBittorrent really listening")
    assert labels == {
        "title": "qSticky",
        "source": HOME,
        "licenses": "MIT",
        "version": __version__,
        "revision": REVISION,
    }
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["qsticky"]
    assert config["Cmd"] is None
    assert config["StopSignal"] == "SIGTERM"
    assert config["ExposedPorts"] == {"10058/tcp": {}}
    assert config["Healthcheck"]["Test"] == ["CMD", "qsticky", "healthcheck"]
    assert engine.docker("run", "--rm", "--network=none", image, "--version") == (
        f"qsticky {__version__}\n"
    )


def test_nothing_can_be_installed_or_compiled_in_it(engine: Engine, image: str) -> None:
    search = f"which pip pip3 {' '.join(COMPILERS)}; find / -xdev -name 'pip*' -path '*python*'; :"
    assert run(engine, image, "sh", "-c", search) == ""
    for module in ("pip", "ensurepip"):
        find = f"import importlib.util; print(importlib.util.find_spec({module!r}))"
        assert run(engine, image, "python", "-c", find) == "None\n"


def test_it_holds_what_the_lock_file_says_and_no_more(engine: Engine, image: str) -> None:
    listing = (
        "from importlib.metadata import distributions\n"
        "for one in distributions(): print(f'{one.name}=={one.version}')"
    )
    installed = run(engine, image, "python", "-c", listing).lower().replace("_", "-").split()
    lock = (ROOT / "requirements.txt").read_text()
    locked = re.findall(r"^(\S+==\S+) \\$", lock, re.MULTILINE)  # without Windows' own
    assert set(installed) == {*locked, f"qsticky=={__version__}"}


@pytest.mark.parametrize(
    "start",
    [
        "import qsticky.healthcheck",
        "import qsticky.daemon",
        "from qsticky.record import addresses; addresses.parse('json://localhost')",
    ],
)
def test_nothing_is_left_to_compile_at_start(engine: Engine, image: str, start: str) -> None:
    told = run(engine, image, "python", "-v", "-c", start)
    assert "matches /opt/qsticky/lib" in told
    assert re.findall(r"^# code object from (/.*\.py)$", told, re.MULTILINE) == []
