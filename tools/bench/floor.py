"""What there is no getting below, as processes of their own: `python -m tools.bench.floor`.

`imports` is a bare interpreter that imports modules by their names; it prints its resident memory.
`exchanges` sends the requests of a steady sync by bare `http.client`, at a pace, and prints
what that cost.
"""

from __future__ import annotations

import sys
import time


def _imports(names: list[str]) -> int:
    for name in names:
        __import__(name)
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1])


def _exchanges(gluetun: str, qbittorrent: str, count: int, pace: float) -> tuple[float, float]:
    """Return the CPU seconds and the wall seconds of one sync's requests, on average."""
    import json
    from http.client import HTTPConnection
    from urllib.parse import urlencode, urlsplit

    port = HTTPConnection(urlsplit(gluetun).netloc)
    webui = HTTPConnection(urlsplit(qbittorrent).netloc)
    login = urlencode({"username": "admin", "password": "adminadmin"})
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    webui.request("POST", "/api/v2/auth/login", login, form)
    with webui.getresponse() as answer:
        session = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}
        answer.read()

    def get(connection: HTTPConnection, path: str) -> None:
        connection.request("GET", path, headers=session)
        with connection.getresponse() as answer:
            json.load(answer)

    def exchange() -> None:
        get(port, "/v1/portforward")
        get(webui, "/api/v2/app/preferences")
        get(webui, "/api/v2/transfer/info")

    exchange()
    cpu, wall = time.process_time(), 0.0
    for _ in range(count):
        time.sleep(pace)
        began = time.perf_counter()
        exchange()
        wall += time.perf_counter() - began
    return (time.process_time() - cpu) / count, wall / count


if __name__ == "__main__":
    if sys.argv[1] == "imports":
        print(_imports(sys.argv[2:]))
    else:
        print(*_exchanges(sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5])))
