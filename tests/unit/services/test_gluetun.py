"""How the answers of Gluetun's releases, and its port file, become ports or an error."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from qsticky.demo.gluetun_simulator import GluetunRelease, GluetunSimulator
from qsticky.errors import ErrorKind, Reason, ServiceError
from qsticky.services.factory import make_gluetun
from qsticky.services.gluetun import Gluetun, PublicAddress
from qsticky.services.gluetun_roles import RoleError, Route, Wrong
from qsticky.services.http import Exchange, unobserved
from tests.unit.conftest import Load
from tests.unit.services.mocker import ANY, Mocker

URL = "http://gluetun:8000"
NEW = "/v1/portforward"
OLD = "/v1/openvpn/portforwarded"
IP = "/v1/publicip/ip"

Reply = tuple[int, str]  # a status and a body
Release = tuple[Reply, Reply]  # how a release answers on the new route and on the old one
Ask = Callable[[], tuple[int, ...]]

UNAUTHORIZED = (401, "Unauthorized\n")
MOVED = (301, f'<a href="{NEW}">Moved Permanently</a>.\n\n')


def ports_by(release: str, body: str) -> Release:
    """Return how a release answers to a credential that may ask for the port."""
    unknown = {"3.38": (400, f"GET {NEW} not found\n"), "3.40": UNAUTHORIZED}
    if release in unknown:
        return unknown[release], (200, body)
    return (200, body), MOVED


@pytest.fixture
def gluetun(load: Load, exchanges: list[Exchange]) -> Gluetun:
    return make_gluetun(load(GLUETUN_HOST="gluetun", GLUETUN_APIKEY="key"), exchanges.append)


@pytest.fixture
def install(mocker: Mocker) -> Callable[[Release], None]:
    """Has Gluetun answer as a release does; a later one replaces it."""

    def install(release: Release) -> None:
        for route, (status, body) in zip((NEW, OLD), release, strict=True):
            headers = {"Location": NEW} if status == 301 else {}
            mocker.get(URL + route, status_code=status, text=body, headers=headers)

    return install


Install = Callable[[Release], None]


def asked(exchanges: list[Exchange]) -> list[str]:
    """Return the routes asked since this was last called."""
    routes = [exchange.operation for exchange in exchanges]
    exchanges.clear()
    return routes


def failure(gluetun: Gluetun, reason: Reason, kind: ErrorKind) -> str:
    with pytest.raises(ServiceError) as caught:
        gluetun.forwarded_ports()
    assert (caught.value.reason, caught.value.kind) == (reason, kind)
    assert str(caught.value).startswith(f"Gluetun's control server at {URL} ")
    return str(caught.value)


# Routes


@pytest.mark.parametrize("release", ["3.38", "3.40", "3.41", "master"])
@pytest.mark.parametrize(
    ("body", "ports"),
    [
        ('{"port":0}', ()),
        ('{"port":0,"ports":[]}', ()),
        ('{"port":0,"ports":null}', ()),
        ('{"ports":[]}', ()),
        ('{"port":5914}', (5914,)),
        ('{"port":5914,"ports":[5914]}', (5914,)),
        ('{"port":5914,"ports":null}', (5914,)),
        ('{"ports":[5914,6000]}', (5914, 6000)),
        ('{"port":5914,"ports":[5914,6000]}', (5914, 6000)),
        ('{"ports":[1,65535]}', (1, 65535)),
    ],
)
def test_every_release_names_its_ports(
    gluetun: Gluetun, install: Install, release: str, body: str, ports: tuple[int, ...]
) -> None:
    install(ports_by(release, body + "\n"))
    assert gluetun.forwarded_ports() == ports


@pytest.mark.parametrize(
    ("release", "first", "then"),
    [("3.38", [NEW, OLD], [OLD]), ("3.40", [NEW, OLD], [OLD]), ("3.41", [NEW], [NEW])],
)
def test_the_route_that_works_is_remembered(
    gluetun: Gluetun,
    install: Install,
    exchanges: list[Exchange],
    release: str,
    first: list[str],
    then: list[str],
) -> None:
    install(ports_by(release, '{"port":5914}'))
    gluetun.forwarded_ports()
    assert asked(exchanges) == first
    gluetun.forwarded_ports()
    assert asked(exchanges) == then


@pytest.mark.parametrize("new", ["3.41", "master"])
@pytest.mark.parametrize("old", ["3.38", "3.40"])
def test_a_gluetun_may_be_upgraded_and_downgraded_meanwhile(
    gluetun: Gluetun, install: Install, exchanges: list[Exchange], old: str, new: str
) -> None:
    for release, first, second in ((old, NEW, OLD), (new, OLD, NEW), (old, NEW, OLD)):
        install(ports_by(release, '{"port":5914}'))
        assert gluetun.forwarded_ports() == (5914,)
        assert gluetun.forwarded_ports() == (5914,)
        assert asked(exchanges) == [first, second, second]


def test_a_route_that_fails_stays_remembered(
    gluetun: Gluetun, install: Install, exchanges: list[Exchange]
) -> None:
    install(ports_by("3.40", '{"port":5914}'))
    gluetun.forwarded_ports()
    install((UNAUTHORIZED, (500, "")))
    failure(gluetun, Reason.GLUETUN_INVALID_RESPONSE, ErrorKind.HTTP_STATUS)
    asked(exchanges)
    install(ports_by("3.40", '{"port":5914}'))
    gluetun.forwarded_ports()
    assert asked(exchanges) == [OLD]


def test_a_refusal_that_the_other_route_makes_good_is_no_error(
    gluetun: Gluetun, install: Install, exchanges: list[Exchange]
) -> None:
    install(ports_by("3.40", '{"port":5914}'))
    gluetun.forwarded_ports()
    assert [exchange.error for exchange in exchanges] == [None, None]
    assert {exchange.service for exchange in exchanges} == {"gluetun"}


# Refusals


@dataclass(frozen=True)
class Refusal:
    """What is set for qSticky and how Gluetun is set up, and what the sentence says then."""

    variables: Mapping[str, object]
    gluetun: Mapping[str, object]
    wrong: Wrong
    route: Route | None
    sentence: str

    def __str__(self) -> str:
        return f"{self.wrong} {self.gluetun} {self.variables}"


KEY = {"GLUETUN_APIKEY": "key"}
USER = {"GLUETUN_USERNAME": "me", "GLUETUN_PASSWORD": "secret"}
BASIC = {"GLUETUN_AUTH_TYPE": "basic", **USER}
EITHER = (
    'the one route that its version knows: "GET /v1/portforward" for Gluetun 3.41 and later, '
    '"GET /v1/openvpn/portforwarded" up to 3.40'
)
WITHOUT_BASIC = "set GLUETUN_AUTH_TYPE=basic, without which GLUETUN_PASSWORD is not sent"
LACKS_THE_ROUTE = (
    'takes GLUETUN_APIKEY, but no role with it lists the route; add "GET /v1/portforward" to the '
    "routes of qSticky's role, or add a role with this credential and that route"
)


def wrong_key(release: str, line: str, route: Route | None, **more: object) -> Refusal:
    return Refusal(
        KEY,
        {"release": release, "api_key": "another", **more},
        Wrong.UNKNOWN,
        route,
        f"answered 401 to GLUETUN_APIKEY; set the credential of a role that lists {line}",
    )


REFUSALS = [
    wrong_key("3.40", EITHER, None),
    wrong_key("3.41", EITHER, None),
    wrong_key("3.41.3", f'"GET {NEW}"', Route.SINCE_3_41),
    wrong_key("master", f'"GET {NEW}"', Route.SINCE_3_41),
    # A right one, whose role lacks both.
    *(
        wrong_key(release, line, route, api_key="key", routes=["GET /v1/version"])
        for release, line, route in (
            ("3.40", f'"GET {OLD}"', Route.UP_TO_3_40),
            ("3.41", f'"GET {NEW}"', Route.SINCE_3_41),
            ("3.41.3", f'"GET {NEW}"', Route.SINCE_3_41),
            ("master", f'"GET {NEW}"', Route.SINCE_3_41),
        )
    ),
    # A role made for 3.40, and a route that is another role's beside the default one.
    *(
        Refusal(KEY, {"release": release, **role}, Wrong.ROUTE, Route.SINCE_3_41, LACKS_THE_ROUTE)
        for release in ("3.41", "3.41.3", "master")
        for role in (
            {"api_key": "key", "routes": [f"GET {OLD}"]},
            {"api_key": "another", "routes": [f"GET {NEW}"], "default_api_key": "key"},
            {"username": "you", "routes": [f"GET {NEW}"], "default_api_key": "key"},
        )
    ),
    *(
        Refusal(
            variables,
            {"release": release, "username": "me", "password": "right"},
            Wrong.KIND,
            route,
            f'wants a user and a password for "{route.in_a_role}", and got {got}; {remedy}',
        )
        for release, route in (
            ("3.40", Route.UP_TO_3_40),
            ("3.41", Route.SINCE_3_41),
            ("3.41.3", Route.SINCE_3_41),
        )
        for variables, got, remedy in (
            (
                KEY,
                "GLUETUN_APIKEY",
                "set GLUETUN_AUTH_TYPE=basic, GLUETUN_USERNAME and GLUETUN_PASSWORD",
            ),
            (USER, "no credential", WITHOUT_BASIC),
            ({**KEY, **USER}, "GLUETUN_APIKEY", WITHOUT_BASIC),
        )
    ),
    *(
        Refusal(
            BASIC,
            {"release": release, "username": "me", "password": "right"},
            Wrong.PASSWORD,
            route,
            "refused GLUETUN_USERNAME and GLUETUN_PASSWORD; set those of a role that lists "
            f'"{route.in_a_role}"',
        )
        for release, route in (("3.40", Route.UP_TO_3_40), ("3.41", Route.SINCE_3_41))
    ),
    Refusal(
        BASIC,
        {"release": "3.41.3", "api_key": "key"},
        Wrong.UNKNOWN,
        Route.SINCE_3_41,
        "answered 401 to GLUETUN_USERNAME and GLUETUN_PASSWORD; set the credential of a role that "
        f'lists "GET {NEW}"',
    ),
    Refusal(
        {},
        {"release": "master"},
        Wrong.MISSING,
        Route.SINCE_3_41,
        f'wants a credential; set GLUETUN_APIKEY, and have its role list "GET {NEW}"',
    ),
    Refusal(
        {},
        {"release": "3.40", "api_key": "key"},
        Wrong.MISSING,
        None,
        f"wants a credential; set GLUETUN_APIKEY, and have its role list {EITHER}",
    ),
    Refusal(
        {"GLUETUN_AUTH_TYPE": "none", **KEY, **USER},
        {"release": "master", "api_key": "key"},
        Wrong.MISSING,
        Route.SINCE_3_41,
        "wants a credential; set GLUETUN_AUTH_TYPE=apikey, without which GLUETUN_APIKEY is not "
        f'sent, and have its role list "GET {NEW}"',
    ),
    Refusal(
        USER,
        {"release": "3.41.3", "api_key": "key"},
        Wrong.MISSING,
        Route.SINCE_3_41,
        f'wants a credential; {WITHOUT_BASIC}, and have its role list "GET {NEW}"',
    ),
]


@pytest.mark.parametrize("case", REFUSALS, ids=str)
def test_a_refusal_tells_what_is_wrong_and_what_to_do(
    load: Load, exchanges: list[Exchange], case: Refusal
) -> None:
    with GluetunSimulator(**case.gluetun) as simulator:  # type: ignore[arg-type]
        variables = {"GLUETUN_PORT": simulator.port, **case.variables}
        gluetun = make_gluetun(load(**variables), exchanges.append)
        with pytest.raises(RoleError) as caught:
            gluetun.forwarded_ports()
    error = caught.value
    assert (error.reason, error.kind) == (Reason.GLUETUN_UNAUTHORIZED, ErrorKind.UNAUTHORIZED)
    assert (error.wrong, error.route) == (case.wrong, case.route)
    where = f"Gluetun's control server at http://localhost:{simulator.port}"
    assert str(error) == f"{where} {case.sentence}"
    assert [exchange.error for exchange in exchanges].count(ErrorKind.UNAUTHORIZED) == 1


def test_a_refusal_is_told_also_when_the_old_route_was_remembered(
    gluetun: Gluetun, install: Install
) -> None:
    install(ports_by("3.40", '{"port":5914}'))
    gluetun.forwarded_ports()
    install((UNAUTHORIZED, MOVED))
    sentence = failure(gluetun, Reason.GLUETUN_UNAUTHORIZED, ErrorKind.UNAUTHORIZED)
    assert LACKS_THE_ROUTE in sentence


@pytest.mark.parametrize("body", ["<h1>Log in</h1>", '{"error":"Unauthorized"}'])
def test_a_refusal_in_other_words_is_another_service_s(
    gluetun: Gluetun, install: Install, body: str
) -> None:
    install(((401, body), UNAUTHORIZED))
    sentence = failure(gluetun, Reason.GLUETUN_INVALID_RESPONSE, ErrorKind.INVALID_RESPONSE)
    assert f"answered 401 to GET {NEW} in words that are not Gluetun's; check that" in sentence


@pytest.mark.parametrize(
    ("release", "words"),
    [
        (((404, ""), (404, "")), f"answered 404 to GET {NEW} and 404 to GET {OLD}"),
        (((400, ""), (301, "")), f"answered 400 to GET {NEW} and 301 to GET {OLD}"),
        (((301, ""), (301, "")), f"answered 301 to GET {NEW} and 301 to GET {OLD}"),
        (((500, ""), UNAUTHORIZED), f"answered 500 to GET {NEW}"),
        (((403, ""), UNAUTHORIZED), f"answered 403 to GET {NEW}"),
        (((204, ""), UNAUTHORIZED), f"answered 204 to GET {NEW}"),
        (((302, ""), UNAUTHORIZED), f"answered 302 to GET {NEW}"),
    ],
)
def test_another_status_is_another_service(
    gluetun: Gluetun, install: Install, release: Release, words: str
) -> None:
    install(release)
    sentence = failure(gluetun, Reason.GLUETUN_INVALID_RESPONSE, ErrorKind.HTTP_STATUS)
    assert words in sentence
    assert "check that GLUETUN_HOST and GLUETUN_PORT name it, and not a proxy" in sentence


# Answers that are none


@pytest.mark.parametrize(
    "body",
    [
        "",
        "5914",
        "[5914]",
        "null",
        "<html>Log in</html>",
        '{"port":5914',
    ],
)
def test_a_body_that_is_no_json_object_is_told(
    gluetun: Gluetun, install: Install, body: str
) -> None:
    install(((200, body), UNAUTHORIZED))
    sentence = failure(gluetun, Reason.GLUETUN_INVALID_RESPONSE, ErrorKind.INVALID_RESPONSE)
    assert "answered with something that is not a JSON object" in sentence


@pytest.mark.parametrize("answer", [{}, {"status": "running"}, {"Port": 5914}])
def test_json_without_a_port_is_told(
    gluetun: Gluetun, install: Install, answer: Mapping[str, object]
) -> None:
    install(((200, json.dumps(answer)), UNAUTHORIZED))
    sentence = failure(gluetun, Reason.GLUETUN_INVALID_RESPONSE, ErrorKind.INVALID_RESPONSE)
    assert "answered JSON without a port" in sentence


NO_PORTS = [-1, 65536, 10**30, True, False, 5914.0, 0.0, 1e400, "5914", "", None, [5914], {}]


@pytest.mark.parametrize(
    "answer",
    [{"port": port} for port in NO_PORTS]
    + [{"ports": [5914, port]} for port in [0, *NO_PORTS]]
    + [{"ports": ports, "port": 5914} for ports in (0, False, "", {}, {"5914": 1}, "5914", 5914)]
    + [{"ports": [0]}, {"ports": [False]}, {"port": 0, "ports": [[]]}],
    ids=str,
)
def test_what_is_no_port_is_never_passed_on(
    gluetun: Gluetun, install: Install, answer: Mapping[str, object]
) -> None:
    install(((200, json.dumps(answer).replace("Infinity", "1e400")), UNAUTHORIZED))
    sentence = failure(gluetun, Reason.GLUETUN_INVALID_RESPONSE, ErrorKind.INVALID_RESPONSE)
    assert "as ports, which are whole numbers from 1 to 65535" in sentence
    assert len(sentence) < 400


@pytest.mark.parametrize("value", ["[" * 300 + "]" * 300, '"' + "x" * 100_000 + '"', "9" * 4000])
def test_a_sentence_about_no_port_stays_short(
    gluetun: Gluetun, install: Install, value: str
) -> None:
    install(((200, f'{{"port":{value}}}'), UNAUTHORIZED))
    sentence = failure(gluetun, Reason.GLUETUN_INVALID_RESPONSE, ErrorKind.INVALID_RESPONSE)
    assert len(sentence) < 400


def test_an_unreachable_gluetun_is_told(gluetun: Gluetun, mocker: Mocker) -> None:
    mocker.get(URL + NEW, exc=ConnectionRefusedError())
    sentence = failure(gluetun, Reason.GLUETUN_UNREACHABLE, ErrorKind.CONNECTION)
    assert "refused the connection" in sentence


# Authentication


@pytest.mark.parametrize(
    ("variables", "headers"),
    [
        ({"GLUETUN_APIKEY": "kéy"}, {"X-API-Key": "kéy".encode().decode("latin-1")}),
        ({"GLUETUN_APIKEY": ""}, {}),
        (
            {
                "GLUETUN_AUTH_TYPE": "basic",
                "GLUETUN_USERNAME": "me",
                "GLUETUN_PASSWORD": "sécret:x",
                "GLUETUN_APIKEY": "key",
            },
            {"Authorization": f"Basic {base64.b64encode('me:sécret:x'.encode()).decode()}"},
        ),
        ({"GLUETUN_AUTH_TYPE": "none", "GLUETUN_APIKEY": "key"}, {}),
    ],
    ids=["apikey", "empty apikey", "basic", "none"],
)
def test_each_authentication_sends_its_header_on_both_routes(
    load: Load,
    install: Install,
    mocker: Mocker,
    exchanges: list[Exchange],
    variables: dict[str, str],
    headers: dict[str, str],
) -> None:
    install(ports_by("3.40", '{"port":5914}'))
    make_gluetun(load(GLUETUN_HOST="gluetun", **variables), exchanges.append).forwarded_ports()
    assert len(mocker.request_history) == 2
    for request in mocker.request_history:
        names = ("X-API-Key", "Authorization")
        assert {name: request.headers[name] for name in names if name in request.headers} == headers


def test_a_key_that_changes_on_disk_is_sent_anew(
    load: Load, install: Install, mocker: Mocker, tmp_path: Path
) -> None:
    install(ports_by("3.41", '{"port":5914}'))
    key = tmp_path / "gluetun_apikey"
    key.touch()
    gluetun = make_gluetun(load(tmp_path, GLUETUN_HOST="gluetun"), lambda _: None)
    for content in ("", "first\n", "second\n"):
        key.write_text(content)
        gluetun.forwarded_ports()
    sent = [request.headers.get("X-API-Key") for request in mocker.request_history]
    assert sent == [None, "first", "second"]


@pytest.mark.parametrize(
    ("gluetun", "is_open"),
    [
        ({"release": "3.39.0", "api_key": "key"}, True),
        ({"release": "3.40"}, True),
        ({"release": "3.41"}, True),
        ({"release": "3.40", "api_key": "key"}, False),
        ({"release": "3.41.3", "api_key": "key"}, False),
    ],
    ids=str,
)
def test_whether_a_credential_is_needed_can_be_told(
    load: Load, gluetun: dict[str, str], is_open: bool
) -> None:
    with GluetunSimulator(**gluetun) as simulator:  # type: ignore[arg-type]
        variables = {"GLUETUN_PORT": simulator.port, "GLUETUN_APIKEY": "key"}
        client = make_gluetun(load(**variables), unobserved)
        client.forwarded_ports()
        assert client.is_open() is is_open


# The public address


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ('{"public_ip":"203.0.113.7","country":"Norway"}', PublicAddress("203.0.113.7", "Norway")),
        ('{"public_ip":"203.0.113.7"}', PublicAddress("203.0.113.7", None)),
        ('{"public_ip":"2001:db8::7","country":""}', PublicAddress("2001:db8::7", None)),
        ('{"public_ip":"203.0.113.7","country":7}', PublicAddress("203.0.113.7", None)),
        ('{"public_ip":"203.0.113.7","country":"a\\nb"}', PublicAddress("203.0.113.7", None)),
        (
            f'{{"public_ip":"203.0.113.7","country":"{"x" * 81}"}}',
            PublicAddress("203.0.113.7", None),
        ),
        ('{"public_ip":""}', None),
        ('{"public_ip":null}', None),
        ('{"public_ip":1}', None),
        ('{"public_ip":"somewhere"}', None),
        ('{"public_ip":"fe80::1%\\ud800"}', None),
        ("{}", None),
        ("nonsense", None),
    ],
)
def test_the_public_address_is_told_where_it_is_known(
    gluetun: Gluetun, mocker: Mocker, body: str, found: PublicAddress | None
) -> None:
    mocked = mocker.get(URL + IP, text=body)
    assert [gluetun.public_address() for _ in range(2)] == [found] * 2
    assert mocked.call_count == 2
    assert mocked.request_history[-1].headers["X-API-Key"] == "key"


@pytest.mark.parametrize("status", [401, 404])
def test_a_refused_public_address_is_not_asked_for_until_gluetun_was_away(
    gluetun: Gluetun,
    install: Install,
    mocker: Mocker,
    exchanges: list[Exchange],
    status: int,
) -> None:
    mocked = mocker.get(URL + IP, status_code=status)
    assert [gluetun.public_address() for _ in range(3)] == [None] * 3
    assert mocked.call_count == 1
    assert [exchange.error for exchange in exchanges] == [None]
    assert gluetun.public_ip_refused
    mocker.get(URL + NEW, exc=ConnectionRefusedError())
    failure(gluetun, Reason.GLUETUN_UNREACHABLE, ErrorKind.CONNECTION)
    install(ports_by("3.41", '{"port":5914}'))
    mocker.get(URL + IP, text='{"public_ip":"203.0.113.7"}')
    assert gluetun.public_address() == PublicAddress("203.0.113.7", None)
    assert not gluetun.public_ip_refused


def test_a_public_address_that_cannot_be_asked_for_is_no_error(
    gluetun: Gluetun, mocker: Mocker
) -> None:
    mocker.get(URL + IP, exc=TimeoutError())
    assert gluetun.public_address() is None
    mocker.get(URL + IP, text='{"public_ip":"203.0.113.7"}')
    assert gluetun.public_address() == PublicAddress("203.0.113.7", None)


# The version


@pytest.mark.parametrize(
    ("release", "permitted", "asked_before", "after"),
    [
        ("3.39.0", "v3.39.0", "v3.39.0", "v3.39.0"),  # permits everything
        ("3.40", "v3.40.4", "3.39.1 to 3.41.1", "3.39.1 to 3.40"),
        ("3.41", "v3.41.1", "3.39.1 to 3.41.1", "3.41.0 or 3.41.1"),
        ("3.41.3", "v3.41.3", "3.41.2 or later", "3.41.2 or later"),
        ("master", "latest", "3.41.2 or later", "3.41.2 or later"),
    ],
)
def test_the_version_is_told_as_far_as_it_can_be(
    load: Load, release: GluetunRelease, permitted: str, asked_before: str, after: str
) -> None:
    port_route = f"GET {OLD if release in ('3.39.0', '3.40') else NEW}"
    for routes, versions in (
        (None, [permitted, permitted]),
        ([port_route], [asked_before, after]),
    ):
        with GluetunSimulator(release=release, api_key="key", routes=routes) as simulator:
            variables = {"GLUETUN_PORT": simulator.port, "GLUETUN_APIKEY": "key"}
            gluetun = make_gluetun(load(**variables), unobserved)
            before = gluetun.version()
            gluetun.forwarded_ports()
            assert [before, gluetun.version()] == versions


@pytest.mark.parametrize(
    ("version", "unknown", "told"),
    [
        (UNAUTHORIZED, (400, ""), "3.39.0 or earlier"),
        (UNAUTHORIZED, (200, ""), None),
        (UNAUTHORIZED, (500, ""), None),
        ((200, "nonsense"), (404, ""), None),
        ((200, "{}"), (404, ""), None),
        ((200, '{"version":""}'), (404, ""), None),
        ((200, '{"version":"a\\u0007"}'), (404, ""), None),
    ],
)
def test_what_is_no_version_is_none(
    gluetun: Gluetun, mocker: Mocker, version: Reply, unknown: Reply, told: str | None
) -> None:
    mocker.get(ANY, status_code=unknown[0], text=unknown[1])
    mocker.get(f"{URL}/v1/version", status_code=version[0], text=version[1])
    assert gluetun.version() == told


def test_a_silent_gluetun_has_no_version(gluetun: Gluetun, mocker: Mocker) -> None:
    mocker.get(ANY, exc=ConnectionRefusedError())
    assert gluetun.version() is None


def test_a_gluetun_that_was_away_may_be_back_as_another_version(
    gluetun: Gluetun, install: Install, mocker: Mocker
) -> None:
    mocker.get(ANY, status_code=401)
    install(ports_by("3.40", '{"port":5914}'))
    gluetun.forwarded_ports()
    assert gluetun.version() == "3.39.1 to 3.40"
    mocker.get(URL + OLD, exc=ConnectionRefusedError())
    failure(gluetun, Reason.GLUETUN_UNREACHABLE, ErrorKind.CONNECTION)
    assert gluetun.version() == "3.39.1 to 3.41.1"


# The port file


def test_the_ports_in_the_file_are_told(load: Load, tmp_path: Path) -> None:
    file = tmp_path / "forwarded_port"
    file.write_text("5914")
    assert make_gluetun(load(GLUETUN_PORT_FILE=file), lambda _: None).ports_in_file() == (5914,)


def test_without_a_file_there_is_no_port_in_it(load: Load) -> None:
    assert make_gluetun(load(), lambda _: None).ports_in_file() == ()
