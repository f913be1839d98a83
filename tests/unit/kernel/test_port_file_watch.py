"""What makes the watch of the port file call back, and what does not."""

import ctypes
import errno
import itertools
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from qsticky.kernel import inotify
from qsticky.kernel.inotify import Event
from qsticky.kernel.port_file_watch import PortFileWatch
from tests.real import own_mounts, wait_until

SOON = 10.0  # seconds, for what takes milliseconds

AddWatch = Callable[[int, bytes, int], int]
Hook = Callable[[bytes], int | None]  # may say an error that watching the path shall have
WhenArming = Callable[[Hook], None]


class Watch(PortFileWatch):
    """The watch, and a way to know that it has handled all that happened before."""

    def __init__(self, path: Path, root: Path) -> None:
        super().__init__(path, self._called, self._was_refused)
        self.calls = 0
        self.refusals: list[OSError] = []
        self.held = threading.Event()  # once it called while `release` was clear
        self.release = threading.Event()
        self.release.set()
        self._root = root
        self._handled: set[bytes] = set()
        self._fences = itertools.count()

    def calls_for(self, change: Callable[[], object]) -> int:
        """Make a change; return how many calls came of it."""
        before = self.calls
        change()
        self.settle()
        return self.calls - before

    def settle(self) -> None:
        """Wait until every event up to now is handled: they are handled in order."""
        fence = self._root / f"fence-{next(self._fences)}"
        fence.touch()
        wait_until(lambda: os.fsencode(fence.name) in self._handled, SOON, "the watch to settle")

    def _handle(self, events: Sequence[Event]) -> None:
        super()._handle(events)
        self._handled |= {event.name for event in events}

    def _called(self) -> None:
        self.calls += 1
        if not self.release.is_set():
            self.held.set()
            assert self.release.wait(SOON)

    def _was_refused(self, error: OSError) -> None:
        self.refusals.append(error)


Watching = Callable[[Path], Watch]


@contextmanager
def held(watch: Watch, file: Path) -> Iterator[None]:
    """Hold the watch in its first call, so that what happens inside is handled afterwards."""
    watch.release.clear()
    append(file, "0")
    assert watch.held.wait(SOON)
    yield
    watch.release.set()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the path of a port file that is there, in a folder of its own."""
    path = tmp_path / "tmp" / "gluetun" / "forwarded_port"
    path.parent.mkdir(parents=True)
    path.write_text("51500")
    return path


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Watching]:
    """Return how to start a watch; it is stopped in the end."""
    watches: list[Watch] = []

    def started(path: Path) -> Watch:
        watch = Watch(path, tmp_path)
        watch.start()
        watches.append(watch)
        return watch

    yield started
    for watch in watches:
        watch.release.set()
        watch.stop()


@pytest.fixture
def when_arming(monkeypatch: pytest.MonkeyPatch) -> WhenArming:
    """Return how to have something called right before the kernel adds each watch."""
    real: AddWatch = inotify._add_watch

    def hook_in(hook: Hook) -> None:
        def add_watch(descriptor: int, path: bytes, mask: int) -> int:
            error = hook(path)
            if error:
                ctypes.set_errno(error)
                return -1
            return real(descriptor, path, mask)

        monkeypatch.setattr(inotify, "_add_watch", add_watch)

    return hook_in


def nothing(_: bytes) -> None:
    """Let the kernel add a watch as ever."""


def append(path: Path, text: str) -> None:
    """Write once, without emptying the file first."""
    with path.open("a") as file:
        file.write(text)


def replace(path: Path, text: str) -> None:
    new = path.with_name("new")
    new.write_text(text)
    new.rename(path)


def make(path: Path, text: str = "51500") -> None:
    path.parent.mkdir(parents=True)
    path.write_text(text)


def resources() -> tuple[int, int, int]:
    """Count this process's threads, descriptors, and watches of inotify."""
    descriptors = os.listdir("/proc/self/fd")
    watches = 0
    for descriptor in descriptors:
        try:
            watches += Path("/proc/self/fdinfo", descriptor).read_text().count("inotify wd:")
        except FileNotFoundError:  # the one that listed the folder
            continue
    return threading.active_count(), len(descriptors), watches


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda file: file.write_text("6012"), id="written"),
        pytest.param(lambda file: file.write_text("51501"), id="written-at-the-same-length"),
        pytest.param(lambda file: append(file, "\n6012"), id="appended-to"),
        pytest.param(lambda file: file.write_text(""), id="emptied"),
        pytest.param(lambda file: os.truncate(file, 3), id="cut"),
        pytest.param(lambda file: file.unlink(), id="deleted"),
        pytest.param(lambda file: replace(file, "51501"), id="replaced"),
        pytest.param(lambda file: file.rename(file.with_name("old")), id="moved-away"),
        pytest.param(lambda file: shutil.rmtree(file.parent), id="deleted-with-its-folder"),
        pytest.param(lambda file: file.parent.rename(file.parents[1] / "old"), id="folder-moved"),
        pytest.param(lambda file: file.parents[1].rename(file.parents[2] / "old"), id="2-up-moved"),
    ],
)
def test_a_change_of_the_file_is_called_back(
    watching: Watching, file: Path, change: Callable[[Path], object]
) -> None:
    assert 1 <= watching(file).calls_for(lambda: change(file)) <= 3


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda file: file.read_text(), id="reading-it"),
        pytest.param(lambda file: file.with_name("other").write_text("6012"), id="another-file"),
        pytest.param(lambda file: (file.parent / "forwarded_port.bak").touch(), id="a-longer-name"),
        pytest.param(lambda file: (file.parents[1] / file.name).touch(), id="its-name-elsewhere"),
        pytest.param(lambda file: (file.parents[1] / "wireguard").mkdir(), id="another-folder"),
        pytest.param(lambda file: os.link(file, file.with_name("link")), id="a-hard-link-to-it"),
    ],
)
def test_what_is_no_change_is_not_called_back(
    watching: Watching, file: Path, change: Callable[[Path], object]
) -> None:
    watch = watching(file)
    assert watch.calls_for(lambda: change(file)) == 0
    assert watch.calls_for(lambda: append(file, "\n6012")) == 1


def test_a_file_that_appears_is_called_back(watching: Watching, file: Path) -> None:
    file.unlink()
    assert 1 <= watching(file).calls_for(lambda: file.write_text("51500")) <= 3


def test_a_file_in_folders_that_are_made_later_is_called_back(
    watching: Watching, tmp_path: Path
) -> None:
    watch = watching(tmp_path / "a" / "b" / "c" / "port")
    assert watch.calls_for(lambda: make(tmp_path / "a" / "b" / "c" / "port")) >= 1


def test_a_file_that_comes_with_its_folder_is_called_back(watching: Watching, file: Path) -> None:
    away = file.parents[2] / "away"
    file.parent.rename(away)
    watch = watching(file)
    assert watch.calls_for(lambda: away.rename(file.parent)) == 1
    assert watch.calls_for(lambda: append(file, "\n6012")) == 1


def test_a_file_and_folder_that_come_and_go_are_called_back_each_time(
    watching: Watching, file: Path
) -> None:
    watch = watching(file)
    for _ in range(5):
        assert watch.calls_for(lambda: shutil.rmtree(file.parents[1])) >= 1
        assert watch.calls_for(lambda: make(file)) >= 1
        assert watch.calls_for(lambda: append(file, "\n6012")) == 1


def test_a_folder_replaced_by_another_is_called_back(watching: Watching, file: Path) -> None:
    make(file.parents[1] / "next" / file.name, "51501")
    watch = watching(file)

    def swap() -> None:
        file.parent.rename(file.parents[1] / "last")
        (file.parents[1] / "next").rename(file.parent)

    assert 1 <= watch.calls_for(swap) <= 2
    assert watch.calls_for(lambda: append(file, "\n6013")) == 1
    assert watch.calls_for(lambda: append(file.parents[1] / "last" / file.name, "\n6014")) == 0


def test_a_write_through_another_name_of_the_file_is_called_back(
    watching: Watching, file: Path
) -> None:
    other = file.parents[1] / "other-name"
    os.link(file, other)
    assert watching(file).calls_for(lambda: append(other, "\n6012")) == 1


MOUNTED = """
import subprocess
import sys
import threading
from pathlib import Path
from qsticky.kernel.port_file_watch import PortFileWatch

watched, change = sys.argv[1:]
changed = threading.Event()
watch = PortFileWatch(Path(watched), changed.set, print)
watch.start()
subprocess.run(["sh", "-c", change], check=True)
print("called back" if changed.wait(10) else "not called back", Path(watched).read_text())
watch.stop()
"""


def watch_in_own_mounts(mount: str, watched: Path, change: str) -> str:
    """Mount something, watch a file, and change it, by what the shell understands."""
    shell = ["sh", "-c", f'{mount} && exec "$@"', "sh", sys.executable, "-c", MOUNTED]
    result = subprocess.run(
        [*own_mounts(), *shell, str(watched), change],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return result.stdout + result.stderr


def test_a_write_to_a_file_that_is_mounted_alone_is_called_back(tmp_path: Path, file: Path) -> None:
    mounted = tmp_path / "mounted"
    mounted.touch()
    told = watch_in_own_mounts(
        f"mount --bind {file} {mounted}", mounted, change=f"printf 6012 > {file}"
    )
    assert told == "called back 6012\n"


def test_what_comes_to_light_when_a_folder_is_unmounted_is_called_back(file: Path) -> None:
    told = watch_in_own_mounts(
        f"mount -t tmpfs none {file.parent}", file, change=f"umount {file.parent}"
    )
    assert told == "called back 51500\n"


@pytest.mark.parametrize("target", ["gluetun/forwarded_port", "gluetun"])
def test_a_link_is_followed_to_what_it_points_to(
    watching: Watching, file: Path, target: str
) -> None:
    link = file.parents[1] / "link"
    link.symlink_to(target)
    watch = watching(link / "forwarded_port" if link.is_dir() else link)
    assert watch.calls_for(lambda: append(file, "\n6012")) == 1
    assert watch.calls_for(lambda: link.unlink()) >= 1
    assert watch.calls_for(lambda: link.symlink_to(target)) >= 1


@pytest.mark.parametrize("target", ["gluetun/forwarded_port", "gluetun"])
def test_what_a_link_points_to_may_be_missing_and_come_and_go(
    watching: Watching, file: Path, target: str
) -> None:
    shutil.rmtree(file.parent)
    link = file.parents[1] / "link"
    link.symlink_to(target)
    watch = watching(link / "forwarded_port" if target == "gluetun" else link)
    for _ in range(2):
        assert watch.calls_for(lambda: make(file)) >= 1
        assert watch.calls_for(lambda: replace(file, "51501")) >= 1
        assert watch.calls_for(lambda: append(file, "\n6012")) == 1
        assert watch.calls_for(lambda: shutil.rmtree(file.parent)) >= 1


def test_a_folder_in_place_of_the_file_is_no_file(watching: Watching, file: Path) -> None:
    """As Docker makes it, where what it shall mount is missing."""
    file.unlink()
    file.mkdir()
    watch = watching(file)
    assert watch.calls_for(lambda: (file / "forwarded_port").write_text("51500")) == 0
    assert watch.calls_for(lambda: shutil.rmtree(file)) >= 1
    assert watch.calls_for(lambda: file.write_text("51500")) >= 1


def test_a_file_in_place_of_the_folder_is_no_file(watching: Watching, file: Path) -> None:
    shutil.rmtree(file.parent)
    file.parent.touch()
    watch = watching(file)
    assert watch.calls_for(lambda: append(file.parent, "51500")) == 0
    file.parent.unlink()
    assert watch.calls_for(lambda: make(file)) >= 1


def test_a_relative_path_is_of_the_folder_it_was_made_in(
    watching: Watching, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    watch = watching(Path(file.name))
    monkeypatch.chdir(tmp_path)
    assert watch.calls_for(lambda: append(file, "\n6012")) == 1


def test_a_file_made_right_before_its_folder_is_watched_is_called_back(
    watching: Watching, file: Path, when_arming: WhenArming
) -> None:
    shutil.rmtree(file.parent)
    watch = watching(file)

    def write(path: bytes) -> None:
        if path == os.fsencode(file.parent) and not file.exists():
            file.write_text("51500")

    when_arming(write)
    assert watch.calls_for(lambda: file.parent.mkdir()) >= 1
    assert watch.calls_for(lambda: append(file, "\n6012")) == 1


def test_a_folder_deleted_right_before_it_is_watched_is_waited_for(
    watching: Watching, file: Path, when_arming: WhenArming
) -> None:
    file.unlink()
    when_arming(lambda path: file.parent.rmdir() if path == os.fsencode(file.parent) else None)
    watch = watching(file)
    assert not file.parent.exists()
    watch.calls_for(lambda: file.parent.mkdir())
    assert not file.parent.exists()
    when_arming(nothing)
    assert watch.calls_for(lambda: make(file)) >= 1
    assert watch.calls_for(lambda: append(file, "\n6012")) == 1


def test_a_file_replaced_right_before_it_is_watched_is_watched_in_its_new_place(
    watching: Watching, file: Path, when_arming: WhenArming
) -> None:
    turns = iter([True])
    before = file.stat().st_ino

    def exchange(path: bytes) -> None:
        if path == os.fsencode(file) and next(turns, False):
            replace(file, "6012")

    when_arming(exchange)
    watch = watching(file)
    watch.settle()
    assert file.stat().st_ino != before
    assert watch.calls_for(lambda: append(file, "\n6013")) == 1


def test_when_the_kernel_dropped_events_it_looks_again(watching: Watching, file: Path) -> None:
    watch = watching(file)
    with held(watch, file):
        at_once = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        (file.parent / "a").touch()
        for here, there in [("a", "b"), ("b", "a")] * (at_once // 4 + 1):  # two events for each
            (file.parent / here).rename(file.parent / there)
        file.write_text("515001")
    wait_until(lambda: watch.calls == 2, SOON, "the call for the dropped event")
    assert not watch.refusals
    assert watch.calls_for(lambda: append(file, "\n6012")) == 1


def test_nothing_grows_with_what_happens(watching: Watching, file: Path) -> None:
    watch = watching(file)
    before = resources()
    for turn in range(200):
        shutil.rmtree(file.parents[turn % 2])
        make(file)
        append(file, "\n6012")
    watch.settle()
    assert resources() == before
    assert watch.calls_for(lambda: append(file, "\n6012")) == 1


def test_what_is_no_longer_on_the_way_is_watched_no_more(watching: Watching, file: Path) -> None:
    watch = watching(file)
    before = resources()
    for turn in range(10):
        file.parent.rename(file.parents[1] / f"old-{turn}")
        make(file)
        watch.settle()
    assert resources() == before


def test_a_stopped_watch_calls_no_more_until_it_is_started_again(
    watching: Watching, file: Path
) -> None:
    watch = watching(file)
    watch.stop()
    append(file, "\n6012")
    watch.stop()
    watch.start()
    watch.settle()
    assert watch.calls == 0
    assert watch.calls_for(lambda: append(file, "\n6013")) == 1


def test_it_stops_at_once_also_while_folders_come_and_go(tmp_path: Path, file: Path) -> None:
    over = threading.Event()

    def flap() -> None:
        while not over.is_set():
            shutil.rmtree(file.parent)
            make(file)

    before = resources()
    flapping = threading.Thread(target=flap)
    flapping.start()
    try:
        for _ in range(30):
            watch = Watch(file, tmp_path)
            watch.start()
            wait_until(lambda watch=watch: watch.calls, SOON, "the first call")  # type: ignore[misc]
            began = time.monotonic()
            watch.stop()
            assert time.monotonic() - began < 1
    finally:
        over.set()
        flapping.join()
    assert resources() == before


def test_where_no_descriptor_is_left_it_says_so_and_leaves_nothing(
    tmp_path: Path, file: Path
) -> None:
    before = resources()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(OSError, match="inotify instance limit reached"):
            Watch(file, tmp_path).start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert resources() == before


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EACCES, errno.ENOMEM])
def test_where_it_may_not_watch_it_says_so_and_leaves_nothing(
    tmp_path: Path, file: Path, when_arming: WhenArming, error: int
) -> None:
    before = resources()
    when_arming(lambda path: error if path.startswith(os.fsencode(file.parent)) else None)
    with pytest.raises(OSError) as raised:  # noqa: PT011 - the number says which
        Watch(file, tmp_path).start()
    assert raised.value.errno == error
    assert resources() == before


def test_folders_above_that_may_not_be_read_are_done_without(
    watching: Watching, file: Path, when_arming: WhenArming
) -> None:
    unreadable = [os.fsencode(file.parents[1]), b"/"]
    when_arming(lambda path: errno.EACCES if path in unreadable else None)
    watch = watching(file)
    assert watch.calls_for(lambda: append(file, "\n6012")) == 1
    assert watch.calls_for(lambda: file.unlink()) >= 1
    assert watch.calls_for(lambda: file.write_text("51500")) >= 1


def test_in_a_folder_that_may_not_be_read_the_file_itself_is_watched(
    watching: Watching, file: Path, when_arming: WhenArming
) -> None:
    when_arming(lambda path: errno.EACCES if path == os.fsencode(file.parent) else None)
    watch = watching(file)
    assert watch.calls_for(lambda: append(file, "\n6012")) == 1
    assert watch.calls_for(lambda: file.unlink()) == 1


def test_where_it_may_not_watch_later_it_says_so_once_and_goes_on(
    watching: Watching, file: Path, when_arming: WhenArming
) -> None:
    watch = watching(file)
    for times in (1, 2):
        when_arming(lambda path: errno.ENOSPC if path == os.fsencode(file) else None)
        for _ in range(3):
            assert watch.calls_for(lambda: replace(file, "6012")) >= 1
        assert len(watch.refusals) == times
        when_arming(nothing)
        assert watch.calls_for(lambda: replace(file, "6013")) >= 1
        assert watch.calls_for(lambda: append(file, "\n6014")) == 1
    assert "inotify watch limit reached" in str(watch.refusals[0])


def test_many_writes_at_once_are_one_change(watching: Watching, file: Path) -> None:
    watch = watching(file)
    with held(watch, file):
        for _ in range(500):
            append(file, "\n6012")
            file.write_text("51500")
    watch.settle()
    assert watch.calls == 2
