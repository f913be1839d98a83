"""What `qsticky check` tells of the configuration itself."""

from pathlib import Path

from qsticky.check.findings import Verdict
from qsticky.config import VARIABLES
from tests.unit.check.conftest import KEY, Examine


def test_each_variable_that_is_set_is_told_with_its_source(
    examine: Examine, variables: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "secrets").mkdir()
    secret = tmp_path / "secrets" / "qbittorrent_pass"
    secret.write_text("adminadmin")
    told = [finding.text for finding in examine().all if finding.check == "setting"]
    assert f"QBITTORRENT_PORT={variables['QBITTORRENT_PORT']} (environment)" in told
    assert "GLUETUN_APIKEY is set (environment)" in told
    assert f"QBITTORRENT_PASS is set (file {secret})" in told
    assert len(told) == len(variables) + 1
    assert not any(KEY in text or "adminadmin" in text for text in told)


def test_the_defaults_are_counted(examine: Examine, variables: dict[str, object]) -> None:
    told = examine()["defaults"].text
    assert told == f"The other {len(VARIABLES) - len(variables)} variables have their defaults"


def test_a_variable_that_is_nearly_right_is_told(examine: Examine) -> None:
    found = examine(QBITTORRENT_PASSWORD="adminadmin")
    assert found["misspelt"].verdict is Verdict.WARNING
    assert "QBITTORRENT_PASSWORD" in found["misspelt"].text
    assert "set QBITTORRENT_PASS" in found["misspelt"].text


def test_an_address_to_notify_is_told_by_its_number_and_scheme(examine: Examine) -> None:
    found = examine(NOTIFY_URLS="json://user:hunter2@127.0.0.1:9/x ntfy://127.0.0.1/topic")
    told = "NOTIFY_URLS has address 1 (json), address 2 (ntfy); qsticky notify sends a test"
    assert found["notify"].text == told
    assert "hunter2" not in repr(found.all)
    assert "topic" not in repr(found.all)


def test_others_that_begin_like_ours_are_told_together(examine: Examine) -> None:
    found = examine(QBITTORRENT_COLOUR="blue", GLUETUN_MOOD="calm")
    assert found["not_read"].verdict is Verdict.SKIPPED
    assert "GLUETUN_MOOD, QBITTORRENT_COLOUR" in found["not_read"].text
