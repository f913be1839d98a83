"""Makes pictures of the page: those for the README, or of every state to look at.

    python -m tools.page_pictures            the README's, into docs/pictures
    python -m tools.page_pictures FOLDER     of every state, light and dark, narrow and wide

The README's are of a real daemon between a simulated Gluetun and a real qBittorrent, with the
loopback interface in place of the VPN's, whose socket it sees there.
"""

import base64
import struct
import sys
import tempfile
import zlib
from collections import Counter
from pathlib import Path

from playwright.sync_api import Page

from qsticky.demo.gluetun_simulator import GluetunSimulator
from tests.browser.chromium import DESKTOP, PHONE, chromium, look
from tests.browser.scenes import SCENES, Site
from tests.end_to_end.command import QSticky
from tests.real import RealQBittorrent, free_port

README_WIDTH = 480
_PIXELS = """async url => {
  const image = await createImageBitmap(await (await fetch(url)).blob());
  const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
  canvas.drawImage(image, 0, 0);
  const { data, width } = canvas.getImageData(0, 0, image.width, image.height);
  return [width, new Uint32Array(data.buffer).join()];
}"""


def every_state(pictures: Path) -> None:
    """Take each state, in each look."""
    pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Site(Path(folder)) as site, chromium() as browser:
        page = browser.new_page()
        for name, scene in SCENES.items():
            site.clear()
            scene.play(site)
            page.goto(site.url)
            for scheme in ("light", "dark"):
                for width in (PHONE, DESKTOP):
                    look(page, scheme, width)
                    path = pictures / f"{name}-{scheme}-{width}.png"
                    page.screenshot(path=path, full_page=True)
            page.goto("about:blank")  # or it could refresh itself while the next one is asked for


def readme() -> None:
    """Take the page of a daemon that has followed two changes of the port."""
    pictures = Path(__file__).parents[1] / "docs" / "pictures"
    pictures.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as name,
        RealQBittorrent(Path(name)) as qbittorrent,
        GluetunSimulator(ports=[free_port()], api_key="a-long-random-key") as gluetun,
    ):
        folder = Path(name)
        variables = {
            "GLUETUN_PORT": gluetun.port,
            "GLUETUN_APIKEY": "a-long-random-key",
            "QBITTORRENT_PORT": qbittorrent.port,
            "VPN_INTERFACE": "lo",
            "CHECK_INTERVAL": 5,
        }
        with QSticky(folder, variables) as qsticky, chromium() as browser:
            qsticky.wait_for_port(gluetun.ports[0])
            gluetun.ports = (free_port(),)
            qsticky.wait_for_port(gluetun.ports[0])
            page = browser.new_page()
            for scheme in ("light", "dark"):
                look(page, scheme, README_WIDTH)
                page.goto(f"http://127.0.0.1:{qsticky.port}/")
                taken = page.screenshot(full_page=True)
                page.goto("about:blank")
                (pictures / f"page-{scheme}.png").write_bytes(with_a_palette(page, taken))


def with_a_palette(page: Page, png: bytes) -> bytes:
    """Write a PNG anew with 256 colours: a third of the bytes, and as good.

    They are the most frequent, but the fuller the palette, the more must a colour differ from those
    that it has: a rare orange is not to become yellow for many shades of grey.
    """
    width, numbers = page.evaluate(
        _PIXELS, f"data:image/png;base64,{base64.b64encode(png).decode()}"
    )
    pixels = [int(number) for number in numbers.split(",")]
    palette: list[bytes] = []
    index: dict[int, int] = {}
    for colour, _ in Counter(pixels).most_common():
        shades = colour.to_bytes(4, "little")[:3]
        distances = [sum(abs(a - b) for a, b in zip(shades, one, strict=True)) for one in palette]
        distance = min(distances, default=256)
        if len(palette) < min(256, 8 * distance):
            index[colour] = len(palette)
            palette.append(shades)
        else:
            index[colour] = distances.index(distance)
    rows = [pixels[start : start + width] for start in range(0, len(pixels), width)]
    lines = b"".join(b"\0" + bytes(index[colour] for colour in row) for row in rows)
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, len(rows), 8, 3, 0, 0, 0),
        b"PLTE": b"".join(palette),
        b"IDAT": zlib.compress(lines, 9),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )


if __name__ == "__main__":
    every_state(Path(sys.argv[1])) if len(sys.argv) > 1 else readme()
