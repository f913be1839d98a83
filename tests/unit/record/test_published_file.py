"""That no file of anybody else's is touched, whatever is planted where ours shall be."""

import errno
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from qsticky.record.published_file import PublishedFile
from tests.real import missing

SOMEBODY = 12345
SECRET = "somebody's own"


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder of somebody else's."""
    folder = tmp_path / "shared"
    folder.mkdir()
    give(folder)
    return folder


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A folder with a file of somebody else's, which nobody else may read."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    file = folder / "status.json"
    file.write_text(SECRET)
    file.chmod(0o600)
    give(file)
    give(folder)
    return folder


def give(path: Path) -> None:
    """Make it somebody else's."""
    if os.geteuid() != 0:
        missing("root, to give files away")
    os.chown(path, SOMEBODY, SOMEBODY, follow_symlinks=False)


def plant(link: Path, target: Path) -> None:
    link.symlink_to(target)
    give(link)


def untouched(folder: Path) -> bool:
    file = folder / "status.json"
    return (
        os.listdir(folder) == ["status.json"]
        and file.read_text() == SECRET
        and stat.S_IMODE(file.stat().st_mode) == 0o600
    )


def test_a_folder_of_somebody_else_is_allowed(shared: Path) -> None:
    PublishedFile(shared / "status.json").replace(b"ours")
    assert (shared / "status.json").read_bytes() == b"ours"
    assert (shared / "status.json").stat().st_mode & 0o777 == 0o644


def test_a_link_in_its_place_is_replaced(shared: Path, theirs: Path) -> None:
    plant(shared / "status.json", theirs / "status.json")
    PublishedFile(shared / "status.json").replace(b"ours")
    assert not (shared / "status.json").is_symlink()
    assert untouched(theirs)


@pytest.mark.parametrize("path", ["planted", "planted/deeper", "ours/planted"])
def test_a_link_of_somebody_else_on_the_way_is_not_followed(
    shared: Path, theirs: Path, path: str
) -> None:
    (shared / "ours").mkdir()
    plant(shared / path.removesuffix("/deeper"), theirs)
    file = PublishedFile(shared / path / "status.json")
    refused = pytest.raises(PermissionError, match="planted is another user's link")
    with refused:
        file.replace(b"ours")
    with refused:
        file.remove()
    with refused:
        file.remove_leftovers()
    assert untouched(theirs)


@pytest.mark.parametrize("absolute", [False, True])
def test_a_link_of_our_own_is_followed(tmp_path: Path, absolute: bool) -> None:
    folder = tmp_path / "a" / "folder"
    folder.mkdir(parents=True)
    (tmp_path / "link").symlink_to(folder if absolute else "a/../a/folder")
    PublishedFile(tmp_path / "link" / "new" / "status.json").replace(b"ours")
    assert (folder / "new" / "status.json").read_bytes() == b"ours"


def test_links_that_lead_to_each_other_end(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("other")
    (tmp_path / "other").symlink_to("one")
    with pytest.raises(OSError) as raised:  # noqa: PT011 - by its number
        PublishedFile(tmp_path / "one" / "status.json").replace(b"ours")
    assert raised.value.errno == errno.ELOOP


def test_leftovers_of_our_own_are_removed_and_nothing_else(shared: Path) -> None:
    ours = ".status.json.0123456789abcdef"
    others = (".status.json.0123456789abcdee", ".status.json.new", "status.json.0123456789abcdef")
    for name in (ours, *others):
        (shared / name).write_text(SECRET)
    give(shared / others[0])
    PublishedFile(shared / "status.json").remove_leftovers()
    assert sorted(os.listdir(shared)) == sorted(others)


def test_an_error_tells_the_path_that_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "status.json"
    told = re.escape(f"Not a directory: '{path}'") + "$"
    with pytest.raises(NotADirectoryError, match=told):
        PublishedFile(path).replace(b"ours")
    with pytest.raises(IsADirectoryError, match=re.escape(f"Is a directory: '{tmp_path}'") + "$"):
        PublishedFile(tmp_path).replace(b"ours")


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    file = PublishedFile(tmp_path / "new" / "status.json")
    file.replace(b"ours")
    file.remove_leftovers()
    file.remove()
    with pytest.raises(FileNotFoundError):
        file.remove()
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_ordinary_user_needs_no_more_than_to_enter_the_folders(tmp_path: Path) -> None:
    give(tmp_path)
    folder = tmp_path / "closed" / "open"
    folder.mkdir(parents=True)
    (tmp_path / "closed").chmod(0o711)
    give(folder)
    code = (
        "import os, sys; from qsticky.record.published_file import PublishedFile;"
        "os.setgid(12345); os.setuid(12345);"
        "PublishedFile(sys.argv[1]).replace(b'ours')"
    )
    for parent in tmp_path.parents[:-2]:
        parent.chmod(parent.stat().st_mode | 0o011)
    ran = subprocess.run(
        [sys.executable, "-c", code, folder / "status.json"],
        capture_output=True,
        text=True,
        # Not measured: that user may not write where coverage would.
        env={name: value for name, value in os.environ.items() if "COVERAGE" not in name},
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert (folder / "status.json").stat().st_uid == SOMEBODY
