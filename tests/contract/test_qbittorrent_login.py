"""How qBittorrent's WebUI lets one in, and keeps one out."""

from __future__ import annotations

import re

import pytest
import requests

from tests.contract.targets import (
    API_KEY,
    PASSWORD,
    Client,
    Start,
    Subject,
    every_release,
    since_5_2,
    since_5_3,
    up_to_5_1,
)
from tests.real import wait_until

CALLS = (
    "app/version",
    "app/webapiVersion",
    "app/preferences",
    "transfer/info",
    "log/main",
)
ADMIN = ("admin", PASSWORD)
WRONG = ("admin", "wrong")


def refuse(client: Client, times: int) -> None:
    for _ in range(times):
        response = client.login("wrong")
        assert response.status_code == 401 or response.text == "Fails.", response.text


def is_banned(response: requests.Response) -> bool:
    return response.status_code == 403 and "banned" in response.text


@up_to_5_1
def test_a_right_password_is_answered_ok(qbittorrent: Subject) -> None:
    response = qbittorrent.client().login()
    assert (response.status_code, response.text) == (200, "Ok.")


@since_5_2
def test_a_right_password_is_answered_without_a_body(qbittorrent: Subject) -> None:
    response = qbittorrent.client().login()
    assert (response.status_code, response.content) == (204, b"")


@up_to_5_1
def test_a_wrong_password_is_answered_fails_with_status_200(start: Start) -> None:
    response = start().client().login("wrong")
    assert (response.status_code, response.text) == (200, "Fails.")


@since_5_2
def test_a_wrong_password_is_answered_401(start: Start) -> None:
    assert start().client().login("wrong").status_code == 401


@up_to_5_1
def test_the_session_cookie_is_named_sid(qbittorrent: Subject) -> None:
    assert qbittorrent.logged_in().cookies.keys() == ["SID"]


@since_5_2
def test_the_session_cookie_is_named_after_the_port(qbittorrent: Subject) -> None:
    assert qbittorrent.logged_in().cookies.keys() == [f"QBT_SID_{qbittorrent.port}"]


@every_release
def test_a_login_with_a_valid_cookie_succeeds_whatever_the_password(qbittorrent: Subject) -> None:
    client = qbittorrent.logged_in()
    response = client.login("wrong")
    assert response.ok
    assert response.text != "Fails."


@every_release
def test_a_login_with_a_valid_cookie_never_counts_toward_the_ban(start: Start) -> None:
    qbittorrent = start(max_failed_logins=2)
    client = qbittorrent.logged_in()
    for _ in range(3):
        client.login("wrong")
    assert not is_banned(qbittorrent.client().login())


@every_release
def test_a_call_without_a_session_is_403(qbittorrent: Subject) -> None:
    for path in CALLS:
        response = qbittorrent.client().get(path)
        assert (response.status_code, response.text) == (403, "Forbidden"), path


@every_release
def test_a_call_with_a_session_is_200(qbittorrent: Subject) -> None:
    client = qbittorrent.logged_in()
    for path in CALLS:
        assert client.get(path).status_code == 200, path


@every_release
def test_a_logout_ends_the_session_and_no_other(qbittorrent: Subject) -> None:
    client, other = qbittorrent.logged_in(), qbittorrent.logged_in()
    session = {"Cookie": f"{client.cookies.keys()[0]}={client.cookies.values()[0]}"}
    assert client.post("auth/logout", {}).status_code == 200
    assert qbittorrent.client().get("app/version", headers=session).status_code == 403
    assert other.get("app/version").status_code == 200


@every_release
def test_the_version_is_a_line_of_text(qbittorrent: Subject) -> None:
    major, minor = qbittorrent.version
    answer = qbittorrent.logged_in().get("app/version")
    assert re.fullmatch(rf"v{major}\.{minor}\.\d+(\.\d+)?\S*", answer.text)


@every_release
def test_a_session_ends_with_the_process(start: Start) -> None:
    qbittorrent = start()
    client = qbittorrent.logged_in()
    qbittorrent.server.stop()
    qbittorrent.server.start()
    assert client.get("app/version").status_code == 403


@since_5_3
def test_the_oldest_of_sixteen_sessions_is_dropped(start: Start) -> None:
    qbittorrent = start()
    clients = [qbittorrent.logged_in() for _ in range(16)]
    answers = [client.get("app/version").status_code for client in clients]
    assert answers == [403] + 15 * [200]


@every_release
def test_a_wrong_password_counts_toward_the_ban(start: Start) -> None:
    client = start(max_failed_logins=5).client()
    refuse(client, 5)
    assert is_banned(client.login("wrong"))


@every_release
def test_the_ban_refuses_the_right_password_too(start: Start) -> None:
    qbittorrent = start(max_failed_logins=1)
    refuse(qbittorrent.client(), 1)
    assert is_banned(qbittorrent.client().login())


@every_release
def test_a_session_goes_on_while_banned(start: Start) -> None:
    qbittorrent = start(max_failed_logins=1)
    client = qbittorrent.logged_in()
    refuse(qbittorrent.client(), 1)
    assert client.get("app/preferences").status_code == 200


@since_5_2
def test_an_api_key_goes_on_while_banned(start: Start) -> None:
    qbittorrent = start(max_failed_logins=1, api_key=API_KEY)
    refuse(qbittorrent.client(), 1)
    headers = {"Authorization": f"Bearer {API_KEY}"}
    assert qbittorrent.client().get("app/version", headers=headers).status_code == 200


@every_release
def test_trying_does_not_prolong_the_ban(start: Start) -> None:
    client = start(max_failed_logins=1, ban_duration=1).client()
    refuse(client, 1)
    assert is_banned(client.login())
    # Were it prolonged by trying, it would never end while this polls.
    wait_until(lambda: client.login().ok, 3, "the ban to end after a second")


@every_release
def test_a_success_resets_the_count(start: Start) -> None:
    qbittorrent = start(max_failed_logins=2)
    for _ in range(3):
        refuse(qbittorrent.client(), 1)
        assert qbittorrent.client().login().ok


@every_release
def test_the_count_lives_in_memory(start: Start) -> None:
    qbittorrent = start(max_failed_logins=1)
    refuse(qbittorrent.client(), 1)
    qbittorrent.server.stop()
    qbittorrent.server.start()
    assert qbittorrent.client().login().ok


@up_to_5_1
def test_basic_credentials_are_ignored(qbittorrent: Subject) -> None:
    for credentials in (ADMIN, WRONG):
        response = qbittorrent.client().get("app/version", auth=credentials)
        assert (response.status_code, response.text) == (403, "Forbidden")


@since_5_2
def test_basic_credentials_are_accepted_on_any_call(qbittorrent: Subject) -> None:
    assert qbittorrent.client().get("transfer/info", auth=ADMIN).status_code == 200


@since_5_2
def test_wrong_basic_credentials_are_401(start: Start) -> None:
    assert start().client().get("app/version", auth=WRONG).status_code == 401


@since_5_2
def test_wrong_basic_credentials_count_toward_the_ban(start: Start) -> None:
    client = start(max_failed_logins=2).client()
    for _ in range(2):
        client.get("app/version", auth=WRONG)
    assert is_banned(client.login())


@since_5_2
def test_an_api_key_needs_no_login_and_gets_no_cookie(qbittorrent: Subject) -> None:
    client = qbittorrent.client()
    response = client.get("app/preferences", headers={"Authorization": f"Bearer {API_KEY}"})
    assert response.status_code == 200
    assert not client.cookies


@since_5_2
def test_a_wrong_api_key_is_403_and_never_counts_toward_the_ban(start: Start) -> None:
    qbittorrent = start(max_failed_logins=1, api_key=API_KEY)
    client = qbittorrent.client()
    for _ in range(2):
        wrong = {"Authorization": "Bearer qbt_wrong"}
        assert client.get("app/version", headers=wrong).status_code == 403
    assert client.login().ok


@up_to_5_1
def test_an_api_key_is_ignored(qbittorrent: Subject) -> None:
    headers = {"Authorization": f"Bearer {API_KEY}"}
    assert qbittorrent.client().get("app/version", headers=headers).status_code == 403


@every_release
def test_with_bypass_every_login_succeeds(start: Start) -> None:
    qbittorrent = start(bypass=True, max_failed_logins=1)
    for password in ("wrong", "wrong", PASSWORD):
        response = qbittorrent.client().login(password)
        assert response.ok
        assert response.text != "Fails."


@every_release
def test_with_bypass_no_cookie_is_needed(start: Start) -> None:
    assert start(bypass=True).client().get("app/preferences").status_code == 200


@every_release
def test_with_bypass_a_call_without_a_session_opens_one_that_can_be_kept(start: Start) -> None:
    client = start(bypass=True).client()
    assert client.get("app/version").cookies
    assert not client.get("app/version").cookies


@every_release
def test_a_host_header_with_another_port_is_401(qbittorrent: Subject) -> None:
    client, headers = qbittorrent.logged_in(), {"Host": "127.0.0.1:1"}
    for path in CALLS:
        assert client.get(path, headers=headers).status_code == 401, path


@every_release
def test_a_login_with_a_refused_host_is_401_and_never_counts(start: Start) -> None:
    qbittorrent = start(max_failed_logins=1)
    for password in ("wrong", PASSWORD):
        response = qbittorrent.client().login(password, headers={"Host": "127.0.0.1:1"})
        assert response.status_code == 401
    assert qbittorrent.client().login().ok


@every_release
def test_a_host_header_without_a_port_is_fine(qbittorrent: Subject) -> None:
    client = qbittorrent.logged_in()
    assert client.get("app/version", headers={"Host": "127.0.0.1"}).status_code == 200


@every_release
def test_any_host_name_is_fine_by_default(qbittorrent: Subject) -> None:
    headers = {"Host": f"torrents.example:{qbittorrent.port}"}
    assert qbittorrent.client().login(headers=headers).ok


@every_release
def test_a_host_name_outside_the_server_domains_is_401(start: Start) -> None:
    qbittorrent = start(server_domains="torrents.example")
    statuses = {
        name: qbittorrent.client()
        .get("app/version", headers={"Host": f"{name}:{qbittorrent.port}"})
        .status_code
        for name in ("torrents.example", "other.example", "127.0.0.1")
    }
    # The address itself is always fine; a call without a session then is 403.
    assert statuses == {"torrents.example": 403, "other.example": 401, "127.0.0.1": 403}


@every_release
@pytest.mark.parametrize("name", ["Origin", "Referer"])
def test_origin_and_referer_must_match_the_host_if_sent(qbittorrent: Subject, name: str) -> None:
    client = qbittorrent.logged_in()
    assert client.get("app/version", headers={name: qbittorrent.url}).status_code == 200
    assert client.get("app/version", headers={name: "http://other"}).status_code == 401
