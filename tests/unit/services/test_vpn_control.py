"""What Gluetun's answers to being told a VPN status mean."""

import pytest

from qsticky.errors import ErrorKind, Reason, ServiceError
from qsticky.services.factory import make_vpn_control
from qsticky.services.gluetun_roles import RoleError
from qsticky.services.http import Exchange
from qsticky.services.vpn_control import VpnControl, VpnStatus
from tests.unit.conftest import Load
from tests.unit.services.mocker import Mocker

URL = "http://gluetun:8000/v1/vpn/status"


@pytest.fixture
def control(load: Load, exchanges: list[Exchange]) -> VpnControl:
    return make_vpn_control(load(GLUETUN_HOST="gluetun", GLUETUN_APIKEY="key"), exchanges.append)


@pytest.mark.parametrize("status", VpnStatus)
def test_a_status_is_asked_for_with_the_credential(
    control: VpnControl, mocker: Mocker, status: VpnStatus
) -> None:
    sent = mocker.put(URL, text='{"outcome":"as you like"}\n')
    assert control.set_status(status) == "as you like"
    assert sent.request_history[0].json() == {"status": str(status)}
    assert sent.request_history[0].headers["X-API-Key"] == "key"


def test_permission_is_asked_for_without_a_status(control: VpnControl, mocker: Mocker) -> None:
    sent = mocker.put(URL, status_code=400)
    control.check_permission()
    assert sent.request_history[0].text == "{}"


@pytest.mark.parametrize("ask", [VpnControl.check_permission, lambda it: it.set_status("stopped")])
def test_a_refusal_names_the_line_to_add(
    control: VpnControl, mocker: Mocker, exchanges: list[Exchange], ask: object
) -> None:
    mocker.put(URL, status_code=401)
    with pytest.raises(RoleError, match='add "PUT /v1/vpn/status" to the routes of the role'):
        ask(control)  # type: ignore[operator]
    assert [exchange.error for exchange in exchanges] == [ErrorKind.UNAUTHORIZED]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, "", ErrorKind.HTTP_STATUS),
        (404, "", ErrorKind.HTTP_STATUS),
        (502, "", ErrorKind.HTTP_STATUS),
        (200, "fine", ErrorKind.INVALID_RESPONSE),
        (200, "{}", ErrorKind.INVALID_RESPONSE),
        (200, '{"outcome":""}', ErrorKind.INVALID_RESPONSE),
        (200, '{"outcome":1}', ErrorKind.INVALID_RESPONSE),
        (200, '{"outcome":"a <script>"}', ErrorKind.INVALID_RESPONSE),
    ],
)
def test_an_answer_without_an_outcome_is_an_error(
    control: VpnControl, mocker: Mocker, status: int, body: str, kind: ErrorKind
) -> None:
    mocker.put(URL, status_code=status, text=body)
    with pytest.raises(ServiceError) as caught:
        control.set_status(VpnStatus.STOPPED)
    assert (caught.value.reason, caught.value.kind) == (Reason.GLUETUN_INVALID_RESPONSE, kind)


@pytest.mark.parametrize("status", [200, 404, 500])
def test_another_answer_leaves_the_permission_unknown(
    control: VpnControl, mocker: Mocker, status: int
) -> None:
    mocker.put(URL, status_code=status)
    with pytest.raises(ServiceError, match=f"answered {status} to PUT /v1/vpn/status") as caught:
        control.check_permission()
    assert not isinstance(caught.value, RoleError)
