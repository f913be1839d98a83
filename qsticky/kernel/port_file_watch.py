"""Watches Gluetun's port file, and calls back when it changed."""

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

from qsticky.kernel import inotify
from qsticky.kernel.inotify import Event, Inotify
from qsticky.kernel.watch_thread import WatchThread

# A folder tells only of names that come and go, so that a busy /tmp costs little. The file tells
# of writes and of being emptied; reading it makes no event.
_FOLDER_EVENTS = inotify.CREATE | inotify.DELETE | inotify.MOVED_FROM | inotify.MOVED_TO
_FILE_EVENTS = inotify.MODIFY

_MOST_STEPS = 256  # on the way to the file; a link to itself would have no end


class PortFileWatch:
    """Calls `changed()` when the file at `path` is written, emptied or replaced, comes or goes.

    The file, its folder and the folders above may be missing, and come and go at any time. One
    write can make several calls, and many at once make one. Where it can't be watched any more as
    it was at the start, `failed` is called with the reason. Both are called on the watch's own
    thread.

    The file is watched itself, not only its folder: where a container has only the file mounted,
    Gluetun writes it through another folder, and its own hears nothing.
    """

    def __init__(
        self, path: Path, changed: Callable[[], None], failed: Callable[[OSError], None]
    ) -> None:
        self._path = path.absolute()
        self._name = os.fsencode(path.name)
        self._changed = changed
        self._failed = failed
        self._inotify: Inotify
        self._watches: dict[str, int] = {}
        self._awaited: set[tuple[int, bytes]] = set()  # names in the watched folders
        self._state: tuple[int, ...] | None = None
        self._refused = False
        self._thread: WatchThread | None = None

    def start(self) -> None:
        """Begin to watch: what changes from now on is called back.

        Raises OSError where file events can't be had, for inotify's limits or for want of
        permission to read the file or its folder; nothing runs then.
        """
        self._inotify = Inotify()
        self._watches = {}
        try:
            self._arm()
        except OSError:
            self._inotify.close()
            raise
        self._thread = WatchThread("port-file-watch", self._inotify, self._readable)

    def stop(self) -> None:
        """End watching: when this returns, neither `changed` nor `failed` is called any more."""
        if self._thread:
            self._thread.stop()
            self._thread = None

    def _readable(self) -> None:
        self._handle(self._inotify.read())

    def _handle(self, events: Sequence[Event]) -> None:
        """Call back for events that came together, once at most."""
        awaited = [event for event in events if (event.watch, event.name) in self._awaited]
        # The file's own events count whatever it looks like: written twice at the same length,
        # within a tick of the file system's clock, it looks the same.
        certain = any(event.mask & _FILE_EVENTS or event.name == self._name for event in awaited)
        lost = any(
            event.mask & inotify.OVERFLOW
            or (event.mask & inotify.IGNORED and event.watch in self._watches.values())
            for event in events
        )
        if not awaited and not lost:
            return
        before = self._state
        self._look_again()
        if certain or self._state != before:
            self._changed()

    def _look_again(self) -> None:
        try:
            self._arm()
        except OSError as error:
            if not self._refused:
                self._failed(error)
            self._refused = True
        else:
            self._refused = False

    def _arm(self) -> None:
        """Watch the file and all that is on the way to it now, and note the file's state.

        Each place is watched before it is looked at: what changes meanwhile is seen, or makes an
        event. Raises OSError where the last of them can't be watched; those above are a bonus.
        """
        outdated, self._watches = self._watches, {}
        self._awaited, self._state = set(), None
        refusal: OSError | None = None
        folder, ahead = "/", [*reversed(self._path.parts)]
        for _ in range(_MOST_STEPS):
            name = ahead.pop()
            place = os.path.join(folder, name)
            refusal = self._watch(folder, _FOLDER_EVENTS, name)
            try:
                mode = os.lstat(place).st_mode
                if stat.S_ISLNK(mode):
                    ahead += reversed(PurePath(os.readlink(place)).parts)
                elif ahead:
                    folder = place
                elif stat.S_ISREG(mode):
                    refusal = self._watch(place, _FILE_EVENTS)
                    status = os.lstat(place)
                    self._state = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
            except OSError:  # it isn't there
                break
            if not ahead:
                break
        for watch in {*outdated.values()} - {*self._watches.values()}:
            self._inotify.remove(watch)  # only now, so that no event is lost
        if refusal:
            raise refusal

    def _watch(self, place: str, events: int, name: str = "") -> OSError | None:
        """Watch a folder for a name in it, or the file; return the error where that can't be."""
        if place not in self._watches:
            try:
                self._watches[place] = self._inotify.add(place, events)
            except (FileNotFoundError, NotADirectoryError):  # gone since: the folder above tells
                return None
            except OSError as error:
                return error
        self._awaited.add((self._watches[place], os.fsencode(name)))
        return None
