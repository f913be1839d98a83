"""Where a check runs, and that its remedies are for there."""

from pathlib import Path

import pytest

from qsticky.check.place import DOCKER, KUBERNETES, MACHINE, PODMAN, Place, place
from qsticky.demo.gluetun_simulator import GluetunSimulator
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from tests.fakes import FakeKernel
from tests.unit.check.conftest import PLACES, Examine


@pytest.mark.parametrize(
    ("file", "content", "found"),
    [
        (".dockerenv", "", DOCKER),
        ("run/.containerenv", "", PODMAN),
        ("proc/1/cgroup", "12:pids:/docker/0123abcd\n", DOCKER),
        ("proc/1/cgroup", "0::/kubepods/besteffort/pod1/0123abcd\n", KUBERNETES),
        ("proc/1/cgroup", "0::/init.scope\n", MACHINE),
        ("proc/1/cgroup", "0::/lxc/a-machine-of-its-own\n", MACHINE),
        ("proc/version", "Linux", MACHINE),
    ],
)
def test_a_place_shows_by_what_made_it(
    tmp_path: Path, file: str, content: str, found: Place
) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(content)
    assert place({}, tmp_path) is found
    assert place({"KUBERNETES_SERVICE_HOST": "10.43.0.1"}, tmp_path) is KUBERNETES


WORDS = {
    DOCKER: ("docker ", "Docker "),
    PODMAN: ("podman ",),
    KUBERNETES: ("kubectl", "Pod"),
    MACHINE: ("systemctl", "journalctl", "/etc/qsticky"),
}


@pytest.mark.parametrize("where", PLACES)
def test_every_remedy_is_for_the_place(
    examine: Examine,
    kernel: FakeKernel,
    gluetun: GluetunSimulator,
    qbittorrent: QBittorrentSimulator,
    tmp_path: Path,
    where: Place,
) -> None:
    (tmp_path / "a-file").touch()
    told = [examine(where, GLUETUN_APIKEY=None, QBITTORRENT_PASS="wrong")]
    told += [examine(where, GLUETUN_PORT_INDEX=2, GLUETUN_PORT_FILE=tmp_path / "none")]
    told += [examine(where, HEALTH_FILE=tmp_path / "a-file" / "status.json")]
    gluetun.ports = ()
    qbittorrent.banned = True
    told += [examine(where)]
    kernel.tun0 = None
    gluetun.stop()
    qbittorrent.stop()
    told += [examine(where)]
    remedies = [remedy for found in told for finding in found.all for remedy in finding.remedies]
    texts = ["\n".join((remedy.text, *remedy.copy)) for remedy in remedies]
    assert len(texts) >= 20
    assert any(word in text for text in texts for word in WORDS[where])
    foreign = {word for other in {*PLACES} - {where} for word in WORDS[other]}
    assert [text for text in texts for word in foreign if word in text] == []
