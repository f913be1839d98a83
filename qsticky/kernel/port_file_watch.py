"""Watches Gluetun's port file, and calls back when it changed."""

import errno
import itertools
import logging
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path, PurePath

from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
)

from qsticky.record.logs import LOGGER_NAME

_logger = logging.getLogger(LOGGER_NAME)

# A folder tells only of names that come and go, so that a busy /tmp costs little. The file tells
# of writes and of being emptied; reading it makes no event.
_FOLDER_EVENTS = Mask(
    InotifyConstants.IN_CREATE | InotifyConstants.IN_DELETE | InotifyConstants.IN_MOVE
)
_FILE_EVENTS = InotifyConstants.IN_MODIFY

_MOST_STEPS = 256  # on the way to the file; a link to itself would have no end


class PortFileWatch:
    """Calls `changed()` when the file at `path` is written, emptied or replaced, comes or goes.

    The file, its folder and the folders above may be missing, and come and go at any time. One
    write can make several calls. `changed()` is called on the watch's own thread.

    It takes watchdog's inotify descriptor and not its `Observer`, which watches a file's folder
    in place of the file. Where a container has only the file mounted, Gluetun writes it through
    another folder, and its own hears nothing.
    """

    def __init__(self, path: Path, changed: Callable[[], None]) -> None:
        self._path = path.absolute()
        self._name = os.fsencode(path.name)
        self._changed = changed
        self._lock = threading.Lock()
        self._inotify: InotifyFD | None = None
        self._ids = itertools.count()
        self._watches: dict[str, tuple[WatchDescriptor, CallbackId]] = {}
        self._awaited: set[tuple[WatchDescriptor, bytes]] = set()  # names in the watched folders
        self._state: tuple[int, ...] | None = None

    def start(self) -> None:
        """Begin to watch: what changes from now on is called back.

        Raises OSError where file events can't be had, for inotify's limits or for want of
        permission to read the file or its folder; nothing runs then.
        """
        logging.getLogger(InotifyFD.__module__).setLevel(logging.ERROR)  # see on_queue_overflow
        inotify = InotifyFD()
        inotify.name = "port-file-watch"
        inotify.start()
        try:
            with self._lock:
                self._inotify = inotify
                self._arm(inotify)
        except OSError:
            self.stop()
            raise

    def stop(self) -> None:
        """End watching: when this returns, `changed()` is not called any more."""
        with self._lock:  # so that the thread adds no watch to a descriptor that is closed
            inotify, self._inotify = self._inotify, None
            self._watches = {}
        if inotify:
            inotify.stop()
            inotify.join()

    def on_event(self, event: InotifyEvent) -> None:
        """Take an event from watchdog; one without a name is about the file itself."""
        if (event.wd, event.name) in self._awaited:
            # The file's own events count whatever it looks like: written twice at the same length,
            # within a tick of the file system's clock, it looks the same.
            self._look(certain=event.is_modify or event.name == self._name)

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:  # noqa: ARG002 - watchdog passes it
        """Hear from watchdog that a watched folder or file is deleted, or unmounted."""
        self._look()

    def on_queue_overflow(self) -> None:
        """Hear from watchdog that the kernel dropped events."""
        self._look()

    def _look(self, *, certain: bool = False) -> None:
        with self._lock:
            if not self._inotify:
                return
            before = self._state
            try:
                self._arm(self._inotify)
            except OSError as error:
                _logger.warning("Changes of the port file may be seen late from now on: %s", error)
            different = self._state != before
        if certain or different:
            self._changed()

    def _arm(self, inotify: InotifyFD) -> None:
        """Watch the file and all that is on the way to it now, and note the file's state.

        Each place is watched before it is looked at: what changes meanwhile is seen, or makes an
        event. Raises OSError where the last of them can't be watched; those above are a bonus.
        """
        outdated, self._watches = self._watches, {}
        self._awaited, self._state = set(), None
        folder, ahead = "/", [*reversed(self._path.parts)]
        for _ in range(_MOST_STEPS):
            name = ahead.pop()
            place = os.path.join(folder, name)
            refusal = self._watch(inotify, folder, _FOLDER_EVENTS, name)
            try:
                mode = os.lstat(place).st_mode
                if stat.S_ISLNK(mode):
                    ahead += reversed(PurePath(os.readlink(place)).parts)
                elif ahead:
                    folder = place
                elif stat.S_ISREG(mode):
                    refusal = self._watch(inotify, place, _FILE_EVENTS)
                    status = os.lstat(place)
                    self._state = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
            except OSError:  # it isn't there
                break
            if not ahead:
                break
        inotify.remove_callbacks([*outdated.values()])  # only now, so that no event is lost
        if refusal:
            raise refusal

    def _watch(
        self, inotify: InotifyFD, place: str, events: Mask, name: str = ""
    ) -> OSError | None:
        """Watch a folder for a name in it, or the file; return the error where that can't be."""
        if place not in self._watches:
            id_ = CallbackId(next(self._ids))
            try:
                wd = inotify.add_callback(os.fsencode(place), events, self, id_)
            except (FileNotFoundError, NotADirectoryError):  # gone since: the folder above tells
                return None
            except OSError as error:
                return error
            self._watches[place] = wd, id_
        wd, _ = self._watches[place]
        self._awaited.add((wd, os.fsencode(name)))
        # watchdog raises no error for this one, and keeps the callback.
        return PermissionError(errno.EACCES, "may not be read", place) if wd == -1 else None
