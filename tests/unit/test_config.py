"""How the environment and secret files become a configuration, or all mistakes at once."""

import contextlib
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsticky import config
from qsticky.config import VARIABLES, AuthType, Config, LogFormat, Notice
from qsticky.errors import ConfigurationError
from qsticky.secret import Secret
from qsticky.variable import Setting
from tests.unit.conftest import LONG, Certificates, Load

NO_FOLDER = Path("/no/such/folder")
NO_HOST = (
    "is not a host: give a name or an address alone, as in gluetun or 127.0.0.1, and its port in "
    "the variable for that"
)
NO_SWITCH = "is neither true nor false"
NO_PORT = "is not a whole number from 1 to 65535"
UNREADABLE = "can't be read (No such file or directory): mount it, and let qSticky's user read it"
FOLDER = (
    "is a folder, where a file should be: Docker makes one where the source of a mount is missing; "
    "remove it on the host, and mount a file that is there, or the folder of one that is to come"
)
NOT_A_FILE = (
    "names no file that can be there: give a path that begins with / and whose folder exists (the "
    "value is not repeated, as it could be a secret)"
)
NOT_A_LINE = "put just the secret into it, as one line of text"

SECRETS = {
    "QBITTORRENT_USER": "admin",
    "QBITTORRENT_PASS": "adminadmin",
    "QBITTORRENT_API_KEY": "",
    "GLUETUN_APIKEY": "",
    "GLUETUN_USERNAME": "",
    "GLUETUN_PASSWORD": "",
    "METRICS_USERNAME": "",
    "METRICS_PASSWORD": "",
}
SECRET_NAMES = list(SECRETS)
ADDRESSES = {"PORT_CHECK_URL": "", "NOTIFY_URLS": ""}
PARTNERS = {"METRICS_USERNAME": "METRICS_PASSWORD", "METRICS_PASSWORD": "METRICS_USERNAME"}

DEFAULTS = {
    "QBITTORRENT_HOST": "localhost",
    "QBITTORRENT_PORT": 8080,
    "QBITTORRENT_HTTPS": False,
    "QBITTORRENT_VERIFY_SSL": True,
    "QBITTORRENT_CA_FILE": None,
    "QBITTORRENT_REBIND": True,
    "GLUETUN_HOST": "localhost",
    "GLUETUN_PORT": 8000,
    "GLUETUN_AUTH_TYPE": AuthType.APIKEY,
    "GLUETUN_PORT_FILE": None,
    "GLUETUN_PORT_INDEX": 1,
    "GLUETUN_RESTART_AFTER": 0.0,
    "FORWARDED_PORT": None,
    "VPN_INTERFACE": "tun0",
    "CHECK_INTERVAL": 30.0,
    "REQUEST_TIMEOUT": 10.0,
    "PORT_GRACE": 300.0,
    "PORT_CHECK_INTERVAL": 3600.0,
    "NOTIFY_AFTER": 120.0,
    "NOTIFY_ON": {Notice.FAILING, Notice.RECOVERED},
    "HEALTH_FILE": Path("/tmp/health/status.json"),
    "METRICS_ADDRESS": "0.0.0.0",
    "METRICS_PORT": 10058,
    "METRICS_TLS_CERT_FILE": None,
    "METRICS_TLS_KEY_FILE": None,
    "LOG_LEVEL": "INFO",
    "LOG_FORMAT": LogFormat.JSON,
}
NAMES = [*DEFAULTS, *SECRETS, *ADDRESSES]


def value_of(loaded: Config | None, name: str) -> object:
    value = getattr(loaded, name.lower())
    return value.reveal() if isinstance(value, Secret) else value


def mistakes(load: Load, secrets: Path = NO_FOLDER, /, **variables: object) -> list[str]:
    """Load what must not load, and return what is wrong with it."""
    with pytest.raises(ConfigurationError) as caught:
        load(secrets, **variables)
    assert str(caught.value) == "; ".join(caught.value.mistakes)
    return caught.value.mistakes


def with_partner(**variables: object) -> dict[str, object]:
    """Add what a half of the METRICS credentials is nothing without."""
    partners = {PARTNERS[name]: "other" for name in variables if name in PARTNERS}
    return {**partners, **variables}


# Values


def test_every_variable_has_its_default(load: Load) -> None:
    loaded = load()
    assert {name: value_of(loaded, name) for name in NAMES} == {**DEFAULTS, **SECRETS, **ADDRESSES}


def test_the_table_has_these_variables_and_says_what_each_means() -> None:
    assert set(VARIABLES) == set(NAMES)
    assert {name for name, row in VARIABLES.items() if row.secret} == {*SECRETS, *ADDRESSES}
    assert all(row.meaning for row in VARIABLES.values())


@pytest.mark.parametrize("empty", ["", " ", "\t\n"])
def test_an_empty_value_means_unset(load: Load, empty: str) -> None:
    assert load(**dict.fromkeys(DEFAULTS, empty)) == load()


def test_an_empty_secret_means_unset_and_one_of_spaces_does_not(load: Load) -> None:
    loaded = load(**dict.fromkeys(SECRETS, ""))
    assert {name: value_of(loaded, name) for name in SECRETS} == SECRETS
    assert load(QBITTORRENT_PASS=" ").qbittorrent_pass.reveal() == " "


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("QBITTORRENT_HOST", "qbittorrent", "qbittorrent"),
        ("QBITTORRENT_HOST", " 192.0.2.7 ", "192.0.2.7"),
        ("GLUETUN_HOST", "gluetun_1.my-net.example.", "gluetun_1.my-net.example."),
        ("GLUETUN_HOST", "::1", "::1"),
        ("GLUETUN_HOST", "[2001:db8::7]", "2001:db8::7"),
        ("GLUETUN_HOST", "fe80::1%eth0", "fe80::1%eth0"),
        ("METRICS_ADDRESS", "::", "::"),
        ("QBITTORRENT_PORT", "65535", 65535),
        ("GLUETUN_PORT", "1", 1),
        ("METRICS_PORT", "09100", 9100),
        ("GLUETUN_PORT_INDEX", "2", 2),
        ("QBITTORRENT_HTTPS", "TRUE", True),
        ("QBITTORRENT_HTTPS", "on", True),
        ("QBITTORRENT_HTTPS", "1", True),
        ("QBITTORRENT_VERIFY_SSL", "false", False),
        ("QBITTORRENT_VERIFY_SSL", "0", False),
        ("QBITTORRENT_REBIND", "No", False),
        ("GLUETUN_AUTH_TYPE", "None", AuthType.NONE),
        ("GLUETUN_AUTH_TYPE", "APIKEY", AuthType.APIKEY),
        ("GLUETUN_PORT_FILE", "/not/there/yet", Path("/not/there/yet")),
        ("GLUETUN_RESTART_AFTER", "0", 0.0),
        ("GLUETUN_RESTART_AFTER", "5", 5.0),
        ("FORWARDED_PORT", "51413", 51413),
        ("PORT_CHECK_INTERVAL", "60", 60.0),
        ("NOTIFY_AFTER", "0", 0.0),
        ("NOTIFY_ON", "port_changed", {Notice.PORT_CHANGED}),
        ("NOTIFY_ON", "Failing, vpn_restarted ,failing", {Notice.FAILING, Notice.VPN_RESTARTED}),
        ("METRICS_ADDRESS", "fe80::1%eth0", "fe80::1%eth0"),
        ("QBITTORRENT_HOST", "\ufeffqbittorrent", "qbittorrent"),
        ("VPN_INTERFACE", "wg-protonvpn.42", "wg-protonvpn.42"),
        ("CHECK_INTERVAL", "1", 1.0),
        ("CHECK_INTERVAL", "86400", 86400.0),
        ("REQUEST_TIMEOUT", "0.5", 0.5),
        ("PORT_GRACE", "0", 0.0),
        ("HEALTH_FILE", "/run/health.json", Path("/run/health.json")),
        ("LOG_LEVEL", "debug", "DEBUG"),
        ("LOG_LEVEL", "Warning", "WARNING"),
        ("LOG_FORMAT", "TEXT", LogFormat.TEXT),
    ],
)
def test_a_good_value_is_taken(load: Load, name: str, text: str, value: object) -> None:
    assert value_of(load(**{name: text}), name) == value


@pytest.mark.parametrize(
    ("name", "texts", "problem"),
    [
        (
            name,
            "a b|http://gluetun|gluetun:8000|10.0.0.1:8000|fade:80|a..b|-a|a/b|::::|1:2|::1%a/b"
            f"|{'a' * 64}|{'a.' * 127}|ü|a\nb|\udcff".split("|"),
            NO_HOST,
        )
        for name in ("QBITTORRENT_HOST", "GLUETUN_HOST", "METRICS_ADDRESS")
    ]
    + [
        (name, ["0", "65536", "-1", "+1", "8_0", "80.0", "1e3", "٣", "9" * 5000], NO_PORT)
        for name in ("QBITTORRENT_PORT", "GLUETUN_PORT", "METRICS_PORT", "FORWARDED_PORT")
    ]
    + [
        (name, ["2", "maybe", "truee", "t"], NO_SWITCH)
        for name in ("QBITTORRENT_HTTPS", "QBITTORRENT_VERIFY_SSL", "QBITTORRENT_REBIND")
    ]
    + [
        ("GLUETUN_PORT_INDEX", ["0", "1001", "first"], "is not a whole number from 1 to 1000"),
        ("GLUETUN_AUTH_TYPE", ["bearer", "api key"], "is none of apikey, basic, none"),
        (
            "VPN_INTERFACE",
            ["a/b", "a b", "tun0:1", ".", "..", "a" * 16, "tün0", "\udcff"],
            "is not an interface name: give one of up to 15 characters, as in tun0",
        ),
        (
            "CHECK_INTERVAL",
            ["0", "0.9", "86401", "-5", "nan", "inf", "1e3", "30s", "٣", ".5", "1.", "1_0"],
            "is not a number of seconds from 1 to 86400",
        ),
        ("REQUEST_TIMEOUT", ["0", "301"], "is not a number of seconds from 0.1 to 300"),
        ("PORT_GRACE", ["-1", "86401"], "is not a number of seconds from 0 to 86400"),
        (
            "GLUETUN_RESTART_AFTER",
            ["4.9", "-1", "never"],
            "is not 0 for never, or a number of seconds from 5 to 86400",
        ),
        ("PORT_CHECK_INTERVAL", ["0", "daily"], "is not a number of seconds from 1 to 86400"),
        (
            "NOTIFY_ON",
            ["all", "failing;recovered", ","],
            "is not a list of failing, recovered, port_changed, vpn_restarted, separated by commas",
        ),
        ("LOG_LEVEL", ["CRITICAL", "20"], "is none of DEBUG, INFO, WARNING, ERROR"),
        ("LOG_FORMAT", ["xml"], "is none of json, text"),
    ],
)
def test_a_bad_value_is_refused_with_what_is_accepted(
    load: Load, name: str, texts: list[str], problem: str
) -> None:
    for text in texts:
        assert mistakes(load, **{name: text}) == [f"{name}: {text[:300]!r} {problem}"]


def test_all_mistakes_come_at_once(load: Load, tmp_path: Path) -> None:
    found = mistakes(
        load,
        QBITTORRENT_PASS="hunter2",
        QBITTORRENT_PASS_FILE=tmp_path,
        GLUETUN_APIKEY_FILE=tmp_path,
        GLUETUN_PORT="many",
        CHECK_INTERVAL="often",
        METRICS_USERNAME="me",
        METRICS_TLS_KEY_FILE="/no/key",
        GLUETUN_AUTH_TYPE="basic",
    )
    assert sorted(re.findall(r"^\w+", "\n".join(found), re.MULTILINE)) == [
        "CHECK_INTERVAL",
        "GLUETUN_APIKEY_FILE",
        "GLUETUN_AUTH_TYPE",
        "GLUETUN_PORT",
        "METRICS_PASSWORD",
        "METRICS_TLS_CERT_FILE",
        "METRICS_TLS_KEY_FILE",
        "QBITTORRENT_PASS",
    ]


# Files


@pytest.mark.parametrize(
    "name", ["QBITTORRENT_CA_FILE", "METRICS_TLS_CERT_FILE", "METRICS_TLS_KEY_FILE"]
)
def test_a_file_that_cannot_be_read_is_a_mistake(load: Load, tmp_path: Path, name: str) -> None:
    for path, problem in ((tmp_path / "missing.pem", UNREADABLE), (tmp_path, FOLDER)):
        assert f"{name}: {str(path)!r} {problem}" in mistakes(load, **{name: path})


@pytest.mark.parametrize("name", ["GLUETUN_PORT_FILE", "HEALTH_FILE"])
def test_a_folder_in_the_place_of_a_file_to_come_is_a_mistake(
    load: Load, tmp_path: Path, name: str
) -> None:
    assert mistakes(load, **{name: tmp_path}) == [f"{name}: {str(tmp_path)!r} {FOLDER}"]


@pytest.mark.parametrize("name", ["GLUETUN_PORT_FILE", "HEALTH_FILE"])
@pytest.mark.parametrize("path", ["/dev/null", "/dev/stdout", "/dev/../dev/full"])
def test_a_device_in_the_place_of_a_file_is_a_mistake(load: Load, name: str, path: str) -> None:
    problem = "is a device: give the path of a file, or leave it unset"
    assert mistakes(load, **{name: path}) == [f"{name}: {path!r} {problem}"]


@pytest.mark.parametrize("name", ["METRICS_TLS_CERT_FILE", "METRICS_TLS_KEY_FILE"])
def test_an_encrypted_key_or_a_fifo_is_a_mistake_and_nobody_is_asked_for_a_password(
    load: Load, tmp_path: Path, name: str
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    regular = f"{name}: {str(fifo)!r} is not a regular file: give the path of one"
    assert regular in mistakes(load, **{name: fifo})
    for mark in ("-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "Proc-Type: 4,ENCRYPTED\n"):
        key = tmp_path / "key.pem"
        key.write_text(mark)
        assert any("is encrypted, and nobody is there" in m for m in mistakes(load, **{name: key}))


def test_a_ca_file_without_a_certificate_is_a_mistake(load: Load, tmp_path: Path) -> None:
    empty, key = tmp_path / "empty", tmp_path / "key"
    empty.touch()
    key.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    for path in (empty, key):
        assert mistakes(load, QBITTORRENT_CA_FILE=path) == [
            f"QBITTORRENT_CA_FILE: {str(path)!r} holds no certificate: give the CA's, in PEM form"
        ]


def test_a_ca_file_with_a_certificate_is_taken(load: Load, certificates: Certificates) -> None:
    assert load(QBITTORRENT_CA_FILE=certificates.ca).qbittorrent_ca_file == certificates.ca


@pytest.mark.parametrize("name", ["QBITTORRENT_PASS_FILE", "METRICS_TLS_KEY_FILE"])
@pytest.mark.parametrize("value", ["hunter2", "/hunter2/x", "hunter2/x", "./hunter2"])
def test_a_file_s_name_that_may_be_the_secret_itself_is_not_repeated(
    load: Load, name: str, value: str
) -> None:
    found = mistakes(load, **{name: value})
    assert f"{name} {NOT_A_FILE}" in found
    assert "hunter2" not in "".join(found)


@pytest.mark.parametrize("name", ["QBITTORRENT_HOST", "QBITTORRENT_PORT", "LOG_LEVEL"])
def test_what_is_before_an_at_sign_is_not_repeated(load: Load, name: str) -> None:
    [found] = mistakes(load, **{name: "http://me:hunter2@with@box:8080"})
    assert found.startswith(f"{name}: '…@box:8080' is n")


@pytest.mark.parametrize("name", ["GLUETUN_HOST", "NOTIFY_ON", "CHECK_INTERVAL"])
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("http://box:8000", "http://box:8000"),
        ("http://box:8000/?apikey=hunter2", "http://box:8000…"),
        ("https://box/api/webhooks/1/hunter2", "https://box…"),
        ("http://box/#hunter2", "http://box…"),
        ("http://me@box/?to=me@box&key=hunter2", "…@box…"),
        ("tgram://hunter2/1", "tgram://…"),
    ],
)
def test_of_a_url_in_the_wrong_place_the_host_alone_is_repeated(
    load: Load, name: str, value: str, shown: str
) -> None:
    [found] = mistakes(load, **{name: value})
    assert found.startswith(f"{name}: {shown!r} is n")
    assert "hunter2" not in found


@pytest.mark.parametrize("name", ["HEALTH_FILE", "GLUETUN_PORT_FILE"])
@pytest.mark.parametrize("value", ["http://me:hunter2@box:8080", "tgram://hunter2/1", "a\nhunter2"])
def test_what_is_not_a_path_is_a_mistake_that_does_not_repeat_it(
    load: Load, name: str, value: str
) -> None:
    [found] = mistakes(load, **{name: value})
    assert found.startswith(f"{name} {NOT_A_FILE}")
    assert "hunter2" not in found


def test_quotes_around_a_wrong_value_are_told(load: Load) -> None:
    for name, value in {
        "GLUETUN_HOST": '"gluetun"',
        "CHECK_INTERVAL": "'30'",
        "QBITTORRENT_PASS_FILE": '"/run/secrets/it"',
        "PORT_CHECK_URL": '"https://check.example/{port}"',
    }.items():
        [found] = mistakes(load, **{name: value})
        assert found.endswith("; the quotes around it are part of it, so take them away")


@pytest.mark.parametrize("path", ["51820", "gluetun/forwarded_port"])
def test_a_port_file_s_path_is_a_whole_one(load: Load, path: str) -> None:
    [found] = mistakes(load, GLUETUN_PORT_FILE=path)
    assert "give a path that begins with /" in found


def test_a_comment_in_a_wrong_value_is_told(load: Load) -> None:
    for name in ("QBITTORRENT_PORT", "QBITTORRENT_HOST", "QBITTORRENT_HTTPS", "CHECK_INTERVAL"):
        [found] = mistakes(load, **{name: "1 # of mine"})
        assert found.endswith(
            "; a comment after it is part of it, so put that on a line of its own"
        )


def test_a_service_link_is_told_for_what_it_is(load: Load) -> None:
    assert mistakes(load, QBITTORRENT_PORT="tcp://10.43.1.2:8080") == [
        "QBITTORRENT_PORT: 'tcp://10.43.1.2:8080' is a link that Docker or Kubernetes made for a "
        "service of that name, not a port: set the variable yourself, or enableServiceLinks: false "
        "for the pod"
    ]


# Secrets


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_secret_comes_from_its_variable(load: Load, name: str) -> None:
    assert value_of(load(**with_partner(**{name: " s3cret: ü "})), name) == " s3cret: ü "


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_secret_comes_from_the_file_that_its_variable_names(
    load: Load, tmp_path: Path, name: str
) -> None:
    file = tmp_path / "secret"
    file.write_text("from the file\n")
    variables = with_partner(**{name: ""}) | {f"{name}_FILE": file}
    assert value_of(load(**variables), name) == "from the file"


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_secret_comes_from_the_folder_of_secrets(load: Load, tmp_path: Path, name: str) -> None:
    (tmp_path / name.lower()).write_text("from the folder\n")
    variables = with_partner(**{name: ""})
    assert value_of(load(tmp_path, **variables), name) == "from the folder"


def test_the_variable_and_the_file_go_before_the_folder(load: Load, tmp_path: Path) -> None:
    (tmp_path / "qbittorrent_pass").write_text("from the folder")
    file = tmp_path / "file"
    file.write_text("from the file")
    assert load(tmp_path, QBITTORRENT_PASS="own").qbittorrent_pass.reveal() == "own"
    of_file = load(tmp_path, QBITTORRENT_PASS_FILE=file).qbittorrent_pass
    assert of_file.reveal() == "from the file"


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_secret_given_twice_is_a_mistake(load: Load, tmp_path: Path, name: str) -> None:
    variables = with_partner(**{name: "hunter2"}) | {f"{name}_FILE": tmp_path / "file"}
    assert mistakes(load, **variables) == [
        f"{name} and {name}_FILE are both set: unset one of them"
    ]


def test_a_secret_file_that_cannot_be_read_is_a_mistake(load: Load, tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path, problem in (
        (tmp_path / "missing", UNREADABLE),
        (tmp_path, FOLDER),
        (
            loop,
            UNREADABLE.replace("No such file or directory", "Too many levels of symbolic links"),
        ),
    ):
        assert mistakes(load, GLUETUN_APIKEY_FILE=path) == [
            f"GLUETUN_APIKEY_FILE: {str(path)!r} {problem}"
        ]


def test_an_unreadable_secret_in_the_folder_is_a_mistake(load: Load, tmp_path: Path) -> None:
    secret = tmp_path / "gluetun_apikey"
    secret.mkdir()
    assert mistakes(load, tmp_path) == [f"GLUETUN_APIKEY: {str(secret)!r} {FOLDER}"]


def test_a_folder_of_secrets_that_is_closed_to_us_counts_as_empty(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(path: object, **_: object) -> os.stat_result:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", closed)
        loaded = load(tmp_path)
    assert loaded.qbittorrent_pass.reveal() == "adminadmin"


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"key\n", "key"),
        (b"key\r\n", "key"),
        (b"key", "key"),
        (b" key ", " key "),
        ("schlüssel".encode(), "schlüssel"),
        (b"a" * 16384 + b"\r\n", "a" * 16384),
        (b"\xef\xbb\xbfkey\n", "key"),
        (b"\n", ""),
        (b"", ""),
    ],
)
def test_a_trailing_newline_is_no_part_of_a_secret(
    load: Load, tmp_path: Path, content: bytes, secret: str
) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    assert load(GLUETUN_APIKEY_FILE=file).gluetun_apikey.reveal() == secret
    assert load(GLUETUN_APIKEY=content.decode()).gluetun_apikey.reveal() == secret


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"hunter2\nhunter3", "contains a line break or another control character"),
        (b"hunter2\n\n", "contains a line break or another control character"),
        (b"hunter2\x7f", "contains a line break or another control character"),
        (b"\thunter2", "contains a line break or another control character"),
        (b"hunter2\xff", "is not UTF-8 text"),
        (b"hunter2" * 2400, "is longer than 16384 bytes"),
        (b"a" * 16384 + b"\rhunter2", "is longer than 16384 bytes"),
        (b"a" + "ü".encode() * 8192 + b"hunter2", "is longer than 16384 bytes"),
    ],
)
def test_a_secret_that_cannot_be_sent_is_a_mistake_that_does_not_tell_it(
    load: Load, tmp_path: Path, content: bytes, problem: str
) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    assert mistakes(load, QBITTORRENT_API_KEY_FILE=file) == [
        f"QBITTORRENT_API_KEY_FILE: {str(file)!r} {problem}: {NOT_A_LINE}"
    ]
    assert mistakes(load, QBITTORRENT_API_KEY=os.fsdecode(content)) == [
        f"QBITTORRENT_API_KEY {problem}: {NOT_A_LINE}"
    ]


@pytest.mark.parametrize(
    "name", ["QBITTORRENT_PASS_FILE", "QBITTORRENT_CA_FILE", "METRICS_TLS_CERT_FILE"]
)
def test_a_fifo_in_a_file_s_place_holds_nobody(load: Load, tmp_path: Path, name: str) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    ended = threading.Event()

    def reader() -> None:
        with contextlib.suppress(ConfigurationError):
            load(**{name: fifo}).qbittorrent_pass.reveal()
        ended.set()

    threading.Thread(target=reader, daemon=True).start()
    assert ended.wait(LONG)


def test_a_secret_shows_nowhere(load: Load, tmp_path: Path) -> None:
    (tmp_path / "gluetun_apikey").write_text("hunter2")
    loaded = load(tmp_path, QBITTORRENT_PASS="hunter2", QBITTORRENT_API_KEY="hunter2")
    for text in (repr(loaded), str(loaded), f"{loaded.gluetun_apikey}", repr(loaded._asdict())):
        assert "hunter2" not in text
        assert "adminadmin" not in text


def test_no_mistake_tells_a_secret(load: Load, tmp_path: Path) -> None:
    (tmp_path / "gluetun_apikey").write_text("hunter2\nhunter2")
    found = mistakes(
        load,
        tmp_path,
        QBITTORRENT_PASS="hunter2",
        QBITTORRENT_PASS_FILE="/some/file",
        QBITTORRENT_USER="hunter2\a",
        METRICS_PASSWORD="hunter2",
        GLUETUN_AUTH_TYPE="basic",
        GLUETUN_PASSWORD="hunter2",
    )
    assert len(found) == 5
    assert "hunter2" not in "".join(found)


# What must be set together


@pytest.mark.parametrize("present", ["METRICS_USERNAME", "METRICS_PASSWORD"])
def test_half_the_metrics_credentials_are_a_mistake(load: Load, present: str) -> None:
    assert mistakes(load, **{present: "me"}) == [
        f"{PARTNERS[present]} is not set, and {present} is: set both or neither"
    ]


@pytest.mark.parametrize(
    ("present", "missing"),
    [
        ("METRICS_TLS_CERT_FILE", "METRICS_TLS_KEY_FILE"),
        ("METRICS_TLS_KEY_FILE", "METRICS_TLS_CERT_FILE"),
    ],
)
def test_half_a_tls_pair_is_a_mistake(
    load: Load, certificates: Certificates, present: str, missing: str
) -> None:
    assert mistakes(load, **{present: certificates.ca}) == [
        f"{missing} is not set, and {present} is: set both or neither"
    ]


def test_a_half_that_is_wrong_is_not_called_missing_as_well(
    load: Load, certificates: Certificates
) -> None:
    found = mistakes(
        load,
        METRICS_USERNAME="me",
        METRICS_PASSWORD_FILE="/no/file",
        METRICS_TLS_CERT_FILE=certificates.ca,
        METRICS_TLS_KEY_FILE="/no/key",
        GLUETUN_AUTH_TYPE="basic",
        GLUETUN_USERNAME_FILE="/no/user",
        GLUETUN_PASSWORD_FILE="/no/password",
    )
    assert sorted(line.split(" ")[0] for line in found) == [
        "GLUETUN_PASSWORD_FILE",
        "GLUETUN_USERNAME_FILE",
        "METRICS_PASSWORD_FILE",
        "METRICS_TLS_KEY_FILE",
    ]


def test_basic_authentication_needs_its_credentials(load: Load) -> None:
    assert mistakes(load, GLUETUN_AUTH_TYPE="basic") == [
        "GLUETUN_AUTH_TYPE is basic: set GLUETUN_USERNAME and GLUETUN_PASSWORD"
    ]
    assert mistakes(load, GLUETUN_AUTH_TYPE="basic", GLUETUN_USERNAME="me") == [
        "GLUETUN_PASSWORD is not set, and GLUETUN_USERNAME is: set both or neither"
    ]
    load(GLUETUN_AUTH_TYPE="basic", GLUETUN_USERNAME="me", GLUETUN_PASSWORD="secret")
    load(GLUETUN_USERNAME="unused")
    load(GLUETUN_AUTH_TYPE="basic", FORWARDED_PORT="51413")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GLUETUN_RESTART_AFTER", 600),
        ("GLUETUN_PORT_FILE", "/tmp/gluetun/forwarded_port"),
        ("GLUETUN_PORT_INDEX", 2),
    ],
)
def test_with_a_fixed_port_what_needs_gluetun_is_a_mistake(
    load: Load, name: str, value: object
) -> None:
    assert mistakes(load, FORWARDED_PORT=51413, **{name: value}) == [
        f"{name} is set, and so is FORWARDED_PORT, with which Gluetun is not asked: unset one of "
        "them"
    ]


def test_with_a_fixed_port_the_other_variables_of_gluetun_are_ignored(load: Load) -> None:
    loaded = load(FORWARDED_PORT=51413, GLUETUN_HOST="gluetun", GLUETUN_PORT_INDEX=1)
    assert loaded.forwarded_port == 51413


# Addresses on the internet


@pytest.mark.parametrize("url", ["https://check.example/{port}", "http://[::1]:8080/?p={port}"])
def test_a_port_check_has_the_port_in_its_address(load: Load, url: str) -> None:
    assert load(PORT_CHECK_URL=url).port_check_url.reveal() == url


@pytest.mark.parametrize(
    "url",
    [
        "https://check.example/",
        "ftp://check.example/{port}",
        "check.example/{port}",
        "https:///{port}",
        "https://[::1/{port}",
        "https://check.example/{port} now",
        "https://check.example/{PORT}",
        "https://{port}/",
        "https://check.example:{port}/",
        "https://check.example:70000/{port}",
        "https://check.example/#{port}",
    ],
)
def test_another_port_check_is_a_mistake_that_does_not_tell_it(load: Load, url: str) -> None:
    assert mistakes(load, PORT_CHECK_URL=url) == [
        "PORT_CHECK_URL is not an http or https address with {port} in it, as in "
        "https://portcheck.transmissionbt.com/{port}"
    ]


def test_notifications_go_to_addresses_that_blanks_or_lines_separate(
    load: Load, tmp_path: Path
) -> None:
    addresses = "json://127.0.0.1:1/a ntfys://topic\n\tjson://127.0.0.1:2\r\n"
    file = tmp_path / "addresses"
    file.write_text(addresses)
    for loaded in (load(NOTIFY_URLS=addresses), load(NOTIFY_URLS_FILE=file)):
        assert loaded.notify_urls.reveal().split() == addresses.split()
    many = " ".join(["json://127.0.0.1/hunter2"] * 655)
    assert load(NOTIFY_URLS=many).notify_urls.reveal() == many
    [long] = mistakes(load, NOTIFY_URLS=f"{many} {'x' * 100}")
    assert long.startswith("NOTIFY_URLS is longer than 16384 bytes")


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("ntfyy://hunter2", " (ntfyy://)"),
        ("tgram://hunter2", " (tgram://)"),
        ("hunter2", ", which begins with no scheme"),
        ("hunter2@x://y", ", which begins with no scheme"),
    ],
)
def test_an_address_of_no_known_service_is_told_by_its_number_and_scheme(
    load: Load, address: str, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert mistakes(load, NOTIFY_URLS=f"json://127.0.0.1 {address}") == [
        f"NOTIFY_URLS has an address that Apprise can't use, number 2{told}: "
        "https://appriseit.com has its services, and how their addresses are written"
    ]
    assert "hunter2" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("between", [";", "; "])
def test_addresses_that_a_semicolon_separates_are_a_mistake(load: Load, between: str) -> None:
    # To Apprise the rest would be topics of the first, on a server that is anybody's.
    assert mistakes(load, NOTIFY_URLS=f"ntfy://host/topic{between}discord://1234/hunter2") == [
        "NOTIFY_URLS has a semicolon between two addresses: put a blank in its place"
    ]


def test_without_apprise_addresses_are_a_mistake_that_names_the_extra(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    assert mistakes(load, NOTIFY_URLS="json://127.0.0.1") == [
        "NOTIFY_URLS needs Apprise, which is not installed: where qSticky is, pip install "
        "'qsticky[notify]' adds it (by pipx: pipx runpip qsticky install 'qsticky[notify]')"
    ]


def test_who_sets_no_addresses_does_not_pay_for_apprise_or_what_it_sends_by() -> None:
    script = "import sys; from qsticky import config, daemon; config.load({}); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"apprise", "requests", "urllib3"} & {*ran.stdout.split()}


# What follows from it


def test_an_empty_secret_file_configures_the_server_s_authentication(
    load: Load, tmp_path: Path
) -> None:
    file = tmp_path / "empty"
    file.touch()
    loaded = load(METRICS_USERNAME_FILE=file, METRICS_PASSWORD_FILE=file)
    assert loaded.metrics_credentials() == ("", "")
    assert loaded.metrics_username.empty
    loaded = load(METRICS_USERNAME="me", METRICS_PASSWORD_FILE=file)
    assert loaded.metrics_credentials() == ("me", "")
    assert load(METRICS_USERNAME="", METRICS_PASSWORD="").metrics_credentials() is None


def test_addresses_are_urls(load: Load, certificates: Certificates) -> None:
    loaded = load(GLUETUN_HOST="::1", QBITTORRENT_HOST="qbt", QBITTORRENT_HTTPS="true")
    assert loaded.gluetun_url == "http://[::1]:8000"
    assert loaded.qbittorrent_url == "https://qbt:8080"
    assert load().qbittorrent_url == "http://localhost:8080"
    assert load().metrics_url == "http://localhost:10058"
    assert load(METRICS_ADDRESS="::").metrics_url == "http://localhost:10058"
    pem = certificates.ca
    secured = load(METRICS_ADDRESS="::1", METRICS_TLS_CERT_FILE=pem, METRICS_TLS_KEY_FILE=pem)
    assert secured.metrics_url == "https://[::1]:10058"


def test_what_is_set_is_known_with_its_source(load: Load, tmp_path: Path) -> None:
    (tmp_path / "gluetun_apikey").write_text("hunter2")
    other = tmp_path / "other"
    other.write_text("hunter2")
    given = {
        "QBITTORRENT_PORT": " 8081 ",
        "QBITTORRENT_PASS": "hunter2",
        "QBITTORRENT_API_KEY_FILE": str(other),
        "GLUETUN_HOST": "",
        "PATH": "/bin",
    }
    loaded = load(tmp_path, **given)
    assert loaded.settings == (
        Setting("QBITTORRENT_PORT", "8081", "environment"),
        Setting("QBITTORRENT_PASS", None, "environment"),
        Setting("QBITTORRENT_API_KEY", None, f"file {other}"),
        Setting("GLUETUN_APIKEY", None, f"file {tmp_path / 'gluetun_apikey'}"),
    )
    assert loaded.unread == ("PATH",)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("LOCALHOST", True),
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("0.0.0.0", True),
        ("gluetun", False),
        ("192.0.2.7", False),
        ("2001:db8::7", False),
    ],
)
def test_a_loopback_host_is_known(host: str, loopback: bool) -> None:
    assert config.is_loopback(host) is loopback


# Anything at all


def values() -> st.SearchStrategy[str]:
    """Draw what an environment can hold: any bytes but NUL, as Python decodes them."""
    likely = ["0", "1", "true", "tun0", "::1", "[::1]", "localhost", "basic", "none", "/dev/null"]
    texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
    raw = st.binary().map(lambda data: os.fsdecode(data.replace(b"\0", b"")))
    return st.sampled_from(likely) | texts | raw


FILES = [f"{name}_FILE" for name in SECRETS]


@given(variables=st.dictionaries(st.sampled_from(NAMES + FILES), values(), max_size=6))
def test_whatever_the_environment_holds_loading_gives_a_config_or_mistakes(
    load: Load, variables: dict[str, str]
) -> None:
    found: list[str] = []
    loaded = None
    try:
        loaded = load(**variables)
    except ConfigurationError as error:
        found = error.mistakes
    assert loaded or found
    for line in found:
        assert re.match(rb"[A-Z_]+", line.encode())
    for name, default in {**DEFAULTS, **SECRETS}.items() if loaded else ():
        value = value_of(loaded, name)
        assert isinstance(value, type(default) | Path | frozenset | int)
        if name in SECRETS:
            str(value).encode()


def test_the_folder_of_secrets_is_the_one_that_docker_uses() -> None:
    assert Path("/run/secrets") == config.SECRETS_FOLDER
