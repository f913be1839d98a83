"""The demonstration says what a phone would show."""

import logging

import pytest
import requests

from qsticky.demo.catcher import Catcher
from qsticky.demo.scenarios import SCENARIOS


def test_what_is_notified_is_said_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "demo")
    with Catcher() as catcher:
        address = catcher.address.replace("json://", "http://")
        told = {"title": "qSticky: no forwarded port", "message": "Look at Gluetun's log"}
        assert requests.post(address, json=told, timeout=5).ok
    assert caplog.messages == ["A notification: qSticky: no forwarded port. Look at Gluetun's log"]


def test_a_vpn_that_forwards_none_is_restarted_in_its_scenario() -> None:
    assert SCENARIOS["no-port"].variables == {"GLUETUN_RESTART_AFTER": "60"}
