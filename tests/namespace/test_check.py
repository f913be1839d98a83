"""`qsticky check` beside a real qBittorrent, with the VPN's interface in sight."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.contract.targets import TARGETS, Target
from tests.end_to_end.command import clean_environment, qsticky_command
from tests.namespace.netns import Namespace
from tests.namespace.scene import Scene
from tests.real import free_port, wait_until

installed = next(target for target in TARGETS if target.kind == "real")


@pytest.mark.parametrize("target", [installed], ids=str)
def test_it_sees_the_socket_and_that_it_is_lost(
    inside: Namespace, target: Target, tmp_path: Path
) -> None:
    with Scene(inside, target, tmp_path) as scene:
        variables = {
            **clean_environment(tmp_path),
            "METRICS_PORT": free_port(),
            "HEALTH_FILE": tmp_path / "status.json",
            **scene.variables,
        }

        def verdicts() -> dict[str, str]:
            ran = inside.run(
                [qsticky_command(), "check", "--json"],
                env={name: str(value) for name, value in variables.items()},
                check=False,
            )
            return {each["check"]: each["verdict"] for each in json.loads(ran.stdout)["findings"]}

        seen = verdicts()
        assert (seen["interface"], seen["socket"]) == ("ok", "ok")
        assert "failed" not in seen.values()

        scene.vpn.down()
        assert verdicts()["interface"] == "skipped"
        scene.vpn.create()  # and neither an address nor a link
        assert verdicts()["interface"] == "failed"

        def lost() -> bool:  # by most restarts
            scene.vpn.down()
            scene.vpn.up()
            return verdicts()["socket"] == "failed"

        wait_until(lost, 60, "a VPN restart to cost the socket")
