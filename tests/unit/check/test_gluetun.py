"""What `qsticky check` finds at Gluetun, and what is to be done about it."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from qsticky.check import gluetun as gluetun_section
from qsticky.check.findings import Verdict
from qsticky.check.place import Place
from qsticky.demo.gluetun_simulator import (
    OLD_PORT_ROUTE,
    PORT_ROUTE,
    PUBLIC_IP_ROUTE,
    GluetunSimulator,
)
from qsticky.demo.simulator import Answer, Disconnect
from tests.fakes import FakeClock, FakeKernel
from tests.unit.check.conftest import KEY, PLACES, PORT, Examine


@pytest.mark.parametrize(
    ("release", "route", "version"),
    [
        ("3.39.0", OLD_PORT_ROUTE, "v3.39.0"),
        ("3.40", OLD_PORT_ROUTE, "v3.40.4"),
        ("3.41", PORT_ROUTE, "v3.41.1"),
        ("master", PORT_ROUTE, "latest"),
    ],
)
def test_the_version_is_told_and_the_route_that_it_knows(
    examine: Examine, release: Any, route: str, version: str
) -> None:
    with GluetunSimulator(release=release, api_key=KEY, ports=[PORT]) as other:
        found = examine(GLUETUN_PORT=other.port)
    assert found.failed == []
    assert found["version"].text == f"It is Gluetun {version}"
    assert found["route"].text == f"{route} is permitted"


def test_nobody_at_gluetun_s_address(examine: Examine, gluetun: GluetunSimulator) -> None:
    gluetun.stop()
    found = examine()
    assert found.failed == ["control_server"]
    copied = found.copied("control_server")
    assert {"GLUETUN_HOST=gluetun", "network_mode: service:gluetun"} <= {*copied}
    assert "docker compose up -d --force-recreate" not in copied


def test_a_gluetun_that_was_recreated(
    examine: Examine, gluetun: GluetunSimulator, kernel: FakeKernel
) -> None:
    gluetun.stop()
    kernel.tun0 = None
    assert "docker compose up -d --force-recreate" in examine().copied("control_server")


def test_a_service_that_closes_the_connection_is_perhaps_at_another_port(
    examine: Examine, gluetun: GluetunSimulator
) -> None:
    gluetun.fault = Disconnect()
    found = examine()
    assert found.failed == ["control_server"]
    assert {"GLUETUN_HOST=localhost", "GLUETUN_PORT=8000"} <= {*found.copied("control_server")}


def test_another_service_in_gluetun_s_place(examine: Examine, gluetun: GluetunSimulator) -> None:
    gluetun.fault = Answer(body="<h1>Log in</h1>")
    found = examine()
    assert found.failed == ["control_server"]
    assert "not a JSON" in found["control_server"].text
    copied = found.copied("control_server")
    assert copied[:2] == ["GLUETUN_HOST=localhost", "GLUETUN_PORT=8000"]
    assert not any(line.startswith("docker") for line in copied)


@pytest.mark.parametrize(
    "unset", [{"GLUETUN_APIKEY": None}, {"GLUETUN_APIKEY": None, "GLUETUN_AUTH_TYPE": "none"}]
)
def test_without_a_credential_one_is_to_be_made_for_both(
    examine: Examine, unset: dict[str, object]
) -> None:
    found = examine(**unset)
    assert found.failed == ["route"]
    first, *others = found.copied("route")
    assert first == "GLUETUN_AUTH_TYPE=apikey"
    assert others[0] == "GLUETUN_APIKEY=a-long-random-key"
    assert others[1].endswith('={"auth":"apikey","apikey":"a-long-random-key"}')


def test_a_credential_that_nobody_asks_for_is_not_called_right(examine: Examine) -> None:
    with GluetunSimulator(release="3.40", ports=[PORT]) as open_to_all:
        found = examine(GLUETUN_PORT=open_to_all.port, GLUETUN_APIKEY="any")
    assert found["credential"].text.startswith("It asks for no credential, so that GLUETUN_APIKEY")
    assert examine()["credential"].text == "GLUETUN_APIKEY is accepted"


BASIC = {"GLUETUN_USERNAME": "me", "GLUETUN_PASSWORD": "hunter2"}


def test_basic_credentials_stay_basic(examine: Examine) -> None:
    with GluetunSimulator(username="me", password="hunter2", routes=[OLD_PORT_ROUTE]) as other:
        found = examine(GLUETUN_AUTH_TYPE="basic", GLUETUN_PORT=other.port, **BASIC)
    copied = "\n".join(found.copied("route"))
    assert 'auth = "basic"' in copied
    assert 'password = "the-value-of-GLUETUN_PASSWORD"' in copied
    assert "hunter2" not in copied


def test_a_wrong_password_of_a_role(examine: Examine) -> None:
    with GluetunSimulator(username="me", password="other") as other:
        found = examine(GLUETUN_AUTH_TYPE="basic", GLUETUN_PORT=other.port, **BASIC)
    assert "GLUETUN_APIKEY" not in found["route"].text
    assert "GLUETUN_PASSWORD=the-role-s-password" in found.copied("route")


@pytest.mark.parametrize("key", [KEY, None])
def test_a_password_that_is_set_and_not_sent(examine: Examine, key: str | None) -> None:
    with GluetunSimulator(username="me", password="hunter2", ports=[PORT]) as other:
        there = {"GLUETUN_PORT": other.port, "GLUETUN_APIKEY": key, **BASIC}
        found = examine(**there)
        assert found.failed == ["route"]
        first = found["route"].remedies[0]
        assert first.copy == ("GLUETUN_AUTH_TYPE=basic",)
        assert not any(way.text.startswith("Or: Then") for way in found["route"].remedies)
        assert examine(**there, GLUETUN_AUTH_TYPE="basic").failed == []


def test_a_key_that_is_set_and_not_sent(examine: Examine) -> None:
    found = examine(GLUETUN_AUTH_TYPE="none")
    assert found.failed == ["route"]
    assert found["route"].remedies[0].copy == ("GLUETUN_AUTH_TYPE=apikey",)
    assert not any("a-long-random-key" in line for line in found.copied("route"))
    assert examine(GLUETUN_AUTH_TYPE="apikey").failed == []


def test_a_version_that_is_known_is_advised_its_one_route(examine: Examine) -> None:
    with GluetunSimulator(release="3.41.3", api_key="another") as recent:
        told = "\n".join(examine(GLUETUN_PORT=recent.port).copied("route"))
    assert PORT_ROUTE in told
    assert OLD_PORT_ROUTE not in told


def test_the_role_of_somebody_else_is_left_alone(examine: Examine) -> None:
    # A default role for qSticky's key, and a file that gives the route to another key.
    with GluetunSimulator(
        api_key="another", routes=[PORT_ROUTE], default_api_key=KEY, ports=[PORT]
    ) as shared:
        found = examine(GLUETUN_PORT=shared.port)
    assert found.failed == ["route"]
    role = found["route"].remedies[0]
    assert "beside the others, which stay as they are" in role.text
    assert 'apikey = "the-value-of-GLUETUN_APIKEY"' in role.copy


def test_what_a_vpn_restart_needs_is_asked_without_restarting_it(
    examine: Examine, gluetun: GluetunSimulator
) -> None:
    assert "vpn_restart" not in {finding.check for finding in examine().all}
    assert examine(GLUETUN_RESTART_AFTER=600)["vpn_restart"].verdict is Verdict.OK
    assert gluetun.outcomes == []
    with GluetunSimulator(api_key=KEY, ports=[PORT], routes=[PORT_ROUTE]) as strict:
        found = examine(GLUETUN_PORT=strict.port, GLUETUN_RESTART_AFTER=600)
    assert found.failed == ["vpn_restart"]
    routes = f'routes = ["{PORT_ROUTE}", "PUT /v1/vpn/status"]'
    assert routes in found.copied("vpn_restart")


def test_no_role_ever_lists_both_port_routes(examine: Examine) -> None:
    remedies = examine(GLUETUN_APIKEY="other")["route"].remedies
    blocks = ["\n".join(remedy.copy) for remedy in remedies if "[[roles]]" in remedy.copy]
    assert len(blocks) == 2
    assert not any(PORT_ROUTE in block and OLD_PORT_ROUTE in block for block in blocks)


def test_no_forwarded_port(examine: Examine, gluetun: GluetunSimulator) -> None:
    gluetun.ports = ()
    found = examine()
    assert found.failed == ["forwarded_port"]
    assert "VPN_PORT_FORWARDING=on" in found.copied("forwarded_port")
    assert "FORWARDED_PORT=the-port" in found.copied("forwarded_port")
    assert found.copied("forwarded_port")[-1] == "docker compose up -d --force-recreate"


def test_no_port_at_the_index(examine: Examine, gluetun: GluetunSimulator) -> None:
    gluetun.ports = (PORT, 6000)
    assert "number 1 of 2" in examine()["forwarded_port"].text
    found = examine(GLUETUN_PORT_INDEX=3)
    assert found.failed == ["forwarded_port"]
    assert found.copied("forwarded_port") == ["GLUETUN_PORT_INDEX=2"]


def test_the_optional_route_is_recommended_where_the_interface_is_not_visible(
    examine: Examine, kernel: FakeKernel
) -> None:
    with GluetunSimulator(api_key=KEY, ports=[PORT], routes=[PORT_ROUTE]) as other:
        assert examine(GLUETUN_PORT=other.port)["public_ip"].verdict is Verdict.SKIPPED
        kernel.tun0 = None
        found = examine(GLUETUN_PORT=other.port)
    assert found["public_ip"].verdict is Verdict.WARNING
    assert f'routes = ["{PORT_ROUTE}", "{PUBLIC_IP_ROUTE}"]' in found.copied("public_ip")
    assert found.failed == []


def test_a_public_address_that_is_not_told(examine: Examine, gluetun: GluetunSimulator) -> None:
    gluetun.public_ip = ""
    assert examine()["public_ip"].verdict is Verdict.SKIPPED


@pytest.mark.parametrize(
    ("ports", "content", "verdict", "told"),
    [
        ((PORT,), str(PORT), Verdict.OK, f"has port {PORT} too (3 min ago)"),
        ((PORT,), "", Verdict.FAILED, "has no port in it"),
        ((PORT,), "51400", Verdict.WARNING, "has port 51400 (3 min ago), which is not what"),
        ((), "", Verdict.OK, "has no port too"),
        ((), "51400", Verdict.WARNING, "has port 51400"),
        (None, str(PORT), Verdict.OK, "used while Gluetun doesn't tell its own"),
        (None, "", Verdict.FAILED, "has no port in it"),
    ],
)
def test_the_port_file_is_compared_with_the_control_server(
    examine: Examine,
    gluetun: GluetunSimulator,
    clock: FakeClock,
    tmp_path: Path,
    ports: tuple[int, ...] | None,
    content: str,
    verdict: Verdict,
    told: str,
) -> None:
    file = tmp_path / "forwarded_port"
    file.write_text(content)
    os.utime(file, (0, clock.now() - 200))
    if ports is None:
        gluetun.stop()
    else:
        gluetun.ports = ports
    found = examine(GLUETUN_PORT_FILE=file)["port_file"]
    assert found.verdict is verdict
    assert told in found.text
    assert bool(found.remedies) is (verdict is Verdict.FAILED)


def test_a_port_file_that_is_missing(
    examine: Examine, gluetun: GluetunSimulator, tmp_path: Path
) -> None:
    file = tmp_path / "forwarded_port"
    found = examine(GLUETUN_PORT_FILE=file)
    assert found.failed == ["port_file"]
    assert "No such file" in found["port_file"].text
    assert f"volumes: [forwarded-port:{tmp_path}:ro]" in found.copied("port_file")
    assert found.copied("port_file")[-1] == "docker compose up -d --force-recreate"
    gluetun.ports = ()  # up to 3.40.0, Gluetun deletes it then
    assert examine(GLUETUN_PORT_FILE=file)["port_file"].verdict is Verdict.OK
    assert not file.exists()


@pytest.mark.parametrize("where", PLACES)
def test_a_port_file_that_is_for_another_user(
    examine: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: Place
) -> None:
    file = tmp_path / "forwarded_port"
    file.write_text(str(PORT))

    def refuse(_: Path) -> None:  # root is never refused
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(gluetun_section, "open_at_once", refuse)
    found = examine(where, GLUETUN_PORT_FILE=file)
    assert found.failed == ["port_file"]
    assert "Permission denied" in found["port_file"].text
    assert found.copied("port_file")[:2] == [f"PUID={os.getuid()}", f"PGID={os.getgid()}"]
    assert "volumes" not in "".join(found.copied("port_file"))
