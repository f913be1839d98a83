"""What a refusal of Gluetun's means: which route its role must list, and which credential it wants.

A missing, wrong or not permitted credential is always a bare 401; what else can be told is told by
the challenge of a role with user and password, and by the version.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from qsticky.errors import ErrorKind, Reason, ServiceError


class Route(StrEnum):
    """Where Gluetun tells its ports, by version."""

    SINCE_3_41 = "/v1/portforward"
    UP_TO_3_40 = "/v1/openvpn/portforwarded"

    @property
    def in_a_role(self) -> str:
        """How a role lists it."""
        return f"GET {self}"


class Credential(NamedTuple):
    """What to present: the header that does, if any, and the variables that it is made of.

    `key_unsent` and `password_unsent` tell that a key, or a user and a password, are set, and not
    what is presented.
    """

    headers: Mapping[str, bytes]
    variables: str = "no credential"
    key_unsent: bool = False
    password_unsent: bool = False

    @property
    def has_password(self) -> bool:
        """Whether it is a user and a password."""
        return "Authorization" in self.headers


class Wrong(StrEnum):
    """What keeps Gluetun from answering, as far as it can be told."""

    ROUTE = "route"  # the credential is right, and its role lacks the route
    PASSWORD = "password"  # the role has another user or password
    KIND = "kind"  # the role wants a user and a password
    MISSING = "missing"  # nothing was presented
    UNKNOWN = "unknown"  # the credential is wrong, or its role lacks the route


class RoleError(ServiceError):
    """Gluetun refused. `wrong` is what, and `route` the one that its version knows, where known.

    Nothing came of the request.
    """

    def __init__(self, sentence: str, wrong: Wrong, route: Route | None = None) -> None:
        super().__init__(Reason.GLUETUN_UNAUTHORIZED, ErrorKind.UNAUTHORIZED, sentence, sent=False)
        self.wrong = wrong
        self.route = route


def refusal(where: str, credential: Credential, wrong: Wrong, route: Route | None) -> RoleError:
    """Make the error of both port routes refused; `where` is the control server."""
    line = f'"{route.in_a_role}"' if route else _EITHER_LINE
    mine = credential.variables
    use = "set GLUETUN_APIKEY"
    if credential.key_unsent and wrong is not Wrong.KIND:
        use = "set GLUETUN_AUTH_TYPE=apikey, without which GLUETUN_APIKEY is not sent"
    elif credential.password_unsent:
        use = "set GLUETUN_AUTH_TYPE=basic, without which GLUETUN_PASSWORD is not sent"
    elif wrong is Wrong.KIND:
        use = "set GLUETUN_AUTH_TYPE=basic, GLUETUN_USERNAME and GLUETUN_PASSWORD"
    sentences = {
        # Several roles can list a route, so that nobody else's need be replaced.
        Wrong.ROUTE: f"takes {mine}, but no role with it lists the route; add {line} to the routes "
        "of qSticky's role, or add a role with this credential and that route",
        Wrong.PASSWORD: f"refused {mine}; set those of a role that lists {line}",
        Wrong.KIND: f"wants a user and a password for {line}, and got {mine}; {use}",
        Wrong.MISSING: f"wants a credential; {use}, and have its role list {line}",
        Wrong.UNKNOWN: f"answered 401 to {mine}; set the credential of a role that lists {line}",
    }
    return RoleError(f"{where} {sentences[wrong]}", wrong, route)


_EITHER_LINE = (
    f'the one route that its version knows: "{Route.SINCE_3_41.in_a_role}" for Gluetun 3.41 and '
    f'later, "{Route.UP_TO_3_40.in_a_role}" up to 3.40'
)
