"""A real nginx in front of a service, as people put one there."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Self

from tests.real import free_port, require, wait_until

_CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    {directives}
  }}
}}
"""


class Nginx:
    """An nginx on loopback whose server block has these directives; a context manager."""

    def __init__(self, folder: Path, directives: str) -> None:
        self.port = free_port()
        self._folder = folder
        text = _CONFIGURATION.format(folder=folder, port=self.port, directives=directives)
        (folder / "nginx.conf").write_text(text)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [
            require("nginx"),
            "-c",
            str(self._folder / "nginx.conf"),
            "-p",
            str(self._folder),
        ]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until((self._folder / "pid").exists, 10, "nginx to start")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(10)
