"""What is worth a sentence at start although it is permitted, and what is not."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from qsticky import config, hints
from qsticky.config import NAMES
from tests.unit.conftest import Load

KEY = {"GLUETUN_APIKEY": "key"}


def told_of(load: Load, name: str) -> list[str]:
    return hints.misnamed(load(**{name: "x"}))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("QBITTORENT_HOST", "QBITTORRENT_HOST"),
        ("QBITTORRENT_HOSTNAME", "QBITTORRENT_HOST"),
        ("GLUETUN_APIKEY_FIEL", "GLUETUN_APIKEY_FILE"),
        ("GLUETUN_USER", "GLUETUN_USERNAME"),
        ("GLUTUN_PORT", "GLUETUN_PORT"),
        ("NOTIFY_URL", "NOTIFY_URLS"),
        ("METRIC_PORT", "METRICS_PORT"),
        ("CHECK_INTERVALS", "CHECK_INTERVAL"),
        ("CHECK_INTERVAL_SECONDS", "CHECK_INTERVAL"),
        ("VPN_INTERFACE_NAME", "VPN_INTERFACE"),
        ("QBITTORRENT_HOST_FILE", "QBITTORRENT_HOST"),
        ("qbittorrent_host", "QBITTORRENT_HOST"),
        ("Gluetun_Port", "GLUETUN_PORT"),
        ("QBITTORRENT-PASS-FILE", "QBITTORRENT_PASS_FILE"),
    ],
)
def test_a_name_that_is_nearly_right_is_asked_after(load: Load, name: str, meant: str) -> None:
    assert told_of(load, name) == [
        f"{name} is set, and qSticky knows no such variable; is it {meant}?"
    ]


@pytest.mark.parametrize(
    ("name", "here"),
    [
        ("QBITTORRENT_SERVER", "QBITTORRENT_HOST"),
        (
            "QBITTORRENT_URL",
            "QBITTORRENT_HOST, QBITTORRENT_PORT and, for https, QBITTORRENT_HTTPS=true",
        ),
        ("GLUETUN_URL", "GLUETUN_HOST and GLUETUN_PORT"),
        ("GLUETUN_API_KEY", "GLUETUN_APIKEY"),
        ("QBITTORRENT_WEBUI_PORT", "QBITTORRENT_PORT"),
        ("GLUETUN_CONTROL_PORT", "GLUETUN_PORT"),
        ("QBITTORRENT_PASSWORD", "QBITTORRENT_PASS"),
        ("QBITTORRENT_PASSWORD_FILE", "QBITTORRENT_PASS_FILE"),
        ("QSTICKY_GLUETUN_HOST", "GLUETUN_HOST"),
        ("GSP_GTN_API_KEY", "GLUETUN_APIKEY"),
    ],
)
def test_another_tool_s_name_is_told_with_what_it_is_here(load: Load, name: str, here: str) -> None:
    assert told_of(load, name) == [f"{name} is not read by qSticky; in its place, set {here}"]


@pytest.mark.parametrize(
    "name",
    [
        *("PATH", "HOSTNAME", "QSTICKY_REVISION", "INTERVAL", "WEBUI_PORT"),
        "QBT_TORRENTING_PORT",
        *("QBITTORRENT_SERVICE_HOST", "GLUETUN_SERVICE_PORT", "GLUETUN_SERVICE_PORT_HTTP"),
        *("GLUETUN_PORT_8000_TCP", "GLUETUN_PORT_8000_TCP_ADDR", "QBITTORRENT_PORT_6881_UDP_PORT"),
        "NOTIFY_SOCKET",
    ],
)
def test_other_names_are_never_told(load: Load, name: str) -> None:
    loaded = load(**{name: "x"})
    assert loaded.unread == (name,)
    assert hints.misnamed(loaded) == []
    assert hints.not_read(loaded) is None


def test_an_ordinary_start_does_not_pay_for_comparing_names() -> None:
    image = {"PATH": "/bin", "HOSTNAME": "a1", "GPG_KEY": "b2", "PYTHON_VERSION": "3.14.0"}
    script = (
        "import os, sys; from qsticky import config, hints\n"
        "hints.misnamed(config.load(os.environ)); print('difflib' in sys.modules)"
    )
    for environ, compared in ((image, "False"), ({**image, "METRIC_PORT": "1"}, "True")):
        run = [sys.executable, "-c", script]
        ran = subprocess.run(run, env=environ, capture_output=True, text=True, check=True)
        assert ran.stdout.strip() == compared


def test_what_is_read_is_never_told(load: Load) -> None:
    assert load(**dict.fromkeys(NAMES, "")).unread == ()


def test_names_that_begin_as_ours_and_resemble_none_share_one_line(load: Load) -> None:
    loaded = load(QBITTORRENT_COLOUR="x", PORT_CHECK_MOOD="x", QBITTORRENT_URL="x", COLOUR="x")
    assert hints.not_read(loaded) == (
        "Not read, as qSticky has no variables of these names: PORT_CHECK_MOOD, QBITTORRENT_COLOUR"
    )
    assert hints.not_read(load(QBITTORRENT_URL="x")) is None


def test_an_empty_secret_file_is_told_with_what_comes_of_it(load: Load, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("\n")
    empty, _ = hints.advice(load(GLUETUN_APIKEY_FILE=file))
    assert empty == (
        f"GLUETUN_APIKEY: {file} is empty, which counts as unset; write the secret to it"
    )
    [closed] = hints.advice(load(METRICS_USERNAME="me", METRICS_PASSWORD_FILE=file, **KEY))
    assert closed == (
        f"METRICS_PASSWORD: {file} is empty, so nobody can log in to the HTTP server; write the "
        "secret to it"
    )
    file.write_text("key\n")
    assert hints.advice(load(GLUETUN_APIKEY_FILE=file)) == []


@pytest.mark.parametrize(
    ("secret", "told"),
    [
        ('"hunter2"', "is in quotes, which are part of it; take them away unless they are meant"),
        ("'hunter2'", "is in quotes, which are part of it; take them away unless they are meant"),
        ("hunter2 ", "begins or ends with a blank; take it away unless it is meant"),
        (" hunter2", "begins or ends with a blank; take it away unless it is meant"),
        ("hunter2\u00a0", "begins or ends with a blank; take it away unless it is meant"),
        (
            "\u201chunter2\u201d",
            "is in quotes, which are part of it; take them away unless they are meant",
        ),
        (
            "hunter2 # mine",
            "has a blank and a # in it; where a comment begins there, put that on a line of its "
            "own",
        ),
        (
            "${WEBUI_PASS}",
            "looks like the name of another variable, which nothing replaced; write the secret "
            "itself unless it is meant",
        ),
        (
            "$WEBUI_PASS",
            "looks like the name of another variable, which nothing replaced; write the secret "
            "itself unless it is meant",
        ),
        (
            "QBITTORRENT_PASS=hunter2",
            "has its own name in it; take QBITTORRENT_PASS= away, so that the secret is left",
        ),
        (
            "hunter\u200b2",
            "has a character in it that can't be seen; type it anew unless that is meant",
        ),
    ],
)
def test_quotes_around_a_secret_and_blanks_are_told_and_it_is_taken_as_it_is(
    load: Load, tmp_path: Path, secret: str, told: str
) -> None:
    file = tmp_path / "password"
    file.write_text(secret)
    for loaded in (load(QBITTORRENT_PASS=secret, **KEY), load(QBITTORRENT_PASS_FILE=file, **KEY)):
        assert hints.advice(loaded) == [f"QBITTORRENT_PASS {told}"]
        assert loaded.qbittorrent_pass.reveal() == secret


@pytest.mark.parametrize(
    "secret", ['"', "it's", '"a', "a b", "a#b", "#a", "$word", "$", "pässword"]
)
def test_other_secrets_are_not_odd(load: Load, secret: str) -> None:
    assert hints.advice(load(QBITTORRENT_PASS=secret, **KEY)) == []


def test_addresses_to_notify_may_stand_on_several_lines(load: Load) -> None:
    assert hints.advice(load(NOTIFY_URLS="json://127.0.0.1\njson://127.0.0.2\n", **KEY)) == []


def test_an_empty_gluetun_key_is_told(load: Load) -> None:
    [told] = hints.advice(load())
    assert told.startswith("GLUETUN_APIKEY is empty, so no key is sent to Gluetun")
    assert "each $ of it is written $$" in told
    assert "GLUETUN_AUTH_TYPE=none" in told
    for others in (KEY, {"GLUETUN_AUTH_TYPE": "none"}, {"FORWARDED_PORT": "51413"}):
        assert hints.advice(load(**others)) == []


def test_a_user_and_password_for_gluetun_that_are_not_sent_are_told(load: Load) -> None:
    both = {"GLUETUN_USERNAME": "me", "GLUETUN_PASSWORD": "hunter2"}
    for loaded in (load(**both), load(**both, **KEY)):
        assert hints.advice(loaded) == [
            "GLUETUN_USERNAME and GLUETUN_PASSWORD are not sent to Gluetun, as GLUETUN_AUTH_TYPE "
            "is apikey unless it is set; set GLUETUN_AUTH_TYPE=basic, or unset both"
        ]
    for auth_type in ("basic", "apikey"):
        assert hints.advice(load(GLUETUN_AUTH_TYPE=auth_type, **both, **KEY)) == []


def test_a_secrets_folder_that_is_closed_to_this_user_is_told(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "SECRETS_FOLDER", tmp_path)
    assert hints.advice(load(**KEY)) == []
    monkeypatch.setattr("os.access", lambda _path, _mode: False)  # root can enter any
    [closed] = hints.advice(load(**KEY))
    assert closed.startswith(f"Secrets in {tmp_path} are not used")


@pytest.mark.parametrize(
    ("service", "variables"),
    [
        ("QBITTORRENT", {"METRICS_PORT": 8080}),
        ("QBITTORRENT", {"QBITTORRENT_PORT": 10058, "QBITTORRENT_HOST": "127.0.0.1"}),
        ("QBITTORRENT", {"METRICS_PORT": 8080, "METRICS_ADDRESS": "127.0.0.1"}),
        ("GLUETUN", {"METRICS_PORT": 8000, "METRICS_ADDRESS": "::"}),
    ],
)
def test_a_service_s_port_that_qsticky_would_take_is_told(
    load: Load, service: str, variables: Mapping[str, object]
) -> None:
    [found] = hints.advice(load(**KEY, **variables))
    assert found.startswith(f"METRICS_PORT and {service}_PORT are both ")


@pytest.mark.parametrize(
    "variables",
    [
        {"METRICS_PORT": 8080, "QBITTORRENT_HOST": "qbittorrent"},
        {"METRICS_PORT": 8080, "METRICS_ADDRESS": "192.0.2.1"},
        {"METRICS_PORT": 8000, "FORWARDED_PORT": 51413},
    ],
)
def test_the_same_port_at_another_address_is_not_told(
    load: Load, variables: Mapping[str, object]
) -> None:
    assert hints.advice(load(**KEY, **variables)) == []
