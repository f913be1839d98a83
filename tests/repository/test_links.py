"""Links between the repository's files lead to what is there, also those by way of its home."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import qsticky

ROOT = Path(__file__).parents[2]
OWNER = qsticky.HOME.rpartition("/")[0]
IN_MAIN = f"{qsticky.HOME}/blob/main/"


def files() -> Iterator[tuple[Path, str]]:
    """Every text file that git knows or would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
    for path in sorted(ROOT / name for name in ran.stdout.split("\0") if name):
        try:
            yield path, path.read_text()
        except (FileNotFoundError, UnicodeDecodeError):
            continue  # removed, or a picture


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a Markdown page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    made: list[str] = []
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", heading).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        made.append(f"{slug}-{made.count(slug)}" if slug in made else slug)
    return {*made, *re.findall(r'<a (?:name|id)="([^"]+)"', text)}


def leads_somewhere(target: str, page: Path) -> bool:
    """Whether a path, relative to a page and maybe with an anchor, is there."""
    path, _, anchor = target.partition("#")
    place = (page.parent / unquote(path)).resolve() if path else page
    if not place.exists() or not place.is_relative_to(ROOT):
        return False
    return not anchor or (place.suffix == ".md" and anchor in anchors(place))


def test_the_home_is_the_one_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["urls"]["Homepage"] == qsticky.HOME


def test_no_other_repository_is_taken_for_ours() -> None:
    wrong = [
        (path.name, url)
        for path, text in files()
        for url in re.findall(rf"{re.escape(OWNER)}/[\w./-]*", text)
        if not re.match(rf"{re.escape(qsticky.HOME)}(?![\w-])", url)
    ]
    assert wrong == []


def test_every_link_into_main_leads_to_a_file() -> None:
    wrong = [
        (path.name, target)
        for path, text in files()
        for target in re.findall(rf"{re.escape(IN_MAIN)}([\w./#-]*[\w/])", text)
        if not leads_somewhere(target, ROOT / "README.md")
    ]
    assert wrong == []


def test_every_link_of_a_page_leads_to_a_place_in_the_repository() -> None:
    wrong = []
    for path, text in files():
        if path.suffix != ".md":
            continue
        prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        prose = re.sub(r"`[^`\n]*`", "", prose)
        targets = re.findall(r"\]\(([^)\s]+)\)", prose)
        targets += re.findall(r'(?:src|srcset|href)="([^"]+)"', prose)
        targets += re.findall(r"^\[[^\]]+\]: (\S+)", prose, re.MULTILINE)
        wrong += [
            (str(path.relative_to(ROOT)), target)
            for target in targets
            if not re.match(r"https?://|mailto:", target) and not leads_somewhere(target, path)
        ]
    assert wrong == []
