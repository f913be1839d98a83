"""Watches Gluetun's port file, and calls back when it changed."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from qsticky.kernel import inotify
from qsticky.kernel.inotify import DROPPED, Event, Inotify
from qsticky.kernel.watch_thread import WatchThread

# A folder tells only of names that come and go, so that a busy /tmp costs little. The file tells
# of writes and of being emptied; reading it makes no event.
_FOLDER_EVENTS = inotify.CREATE | inotify.DELETE | inotify.MOVED_FROM | inotify.MOVED_TO
_FILE_EVENTS = inotify.MODIFY


class PortFileWatch:
    """Calls `changed()` when the file at `path` is written, emptied or replaced, comes or goes.

    The file, its folder and the folders above may be missing, and come and go at any time, which
    is called back too. One write can make several calls, and many at once make one. Where it can't
    be watched any more as it was at the start, `failed` is called with the reason. Both are called
    on the watch's own thread.

    The file is watched itself, not only its folder: where a container has only the file mounted,
    Gluetun writes it through another folder, and its own hears nothing.
    """

    def __init__(
        self, path: Path, changed: Callable[[], None], failed: Callable[[OSError], None]
    ) -> None:
        self._path = path.absolute()
        self._changed = changed
        self._failed = failed
        self._inotify: Inotify
        self._awaited: set[Event] = set()
        self._refused = False
        self._thread: WatchThread

    def start(self) -> None:
        """Begin to watch: what changes from now on is called back.

        Raises OSError where file events can't be had, for inotify's limits or for want of
        permission to read the file or its folder; nothing runs then.
        """
        self._inotify = Inotify()
        try:
            self._arm()
        except OSError:
            self._inotify.close()
            raise
        self._thread = WatchThread(
            "port-file-watch", self._inotify, lambda: self._handle(self._inotify.events())
        )

    def stop(self) -> None:
        """End watching: when this returns, neither `changed` nor `failed` is called any more."""
        self._thread.stop()

    def _handle(self, events: Sequence[Event]) -> None:
        """Call back for events that came together, once at most."""
        if self._awaited.isdisjoint(events):
            return
        try:
            self._arm()
        except OSError as error:
            if not self._refused:
                self._failed(error)
            self._refused = True
        else:
            self._refused = False
        self._changed()

    def _arm(self) -> None:
        """Watch the file, and where the path has links, the one that they lead to as well.

        Raises OSError where that can't be watched.
        """
        before, self._awaited = self._awaited, {DROPPED}
        refusal = self._watch(self._path)
        if (target := Path(os.path.realpath(self._path))) != self._path:
            refusal = self._watch(target)  # it may be missing yet, or replaced
        watched = {event.watch for event in self._awaited}
        for watch in {event.watch for event in before} - watched:
            self._inotify.remove(watch)  # only now, so that no event is lost
        if refusal:
            raise refusal

    def _watch(self, path: Path) -> OSError | None:
        """Watch the folders on the way to a file, and the file, as far as they are there now.

        Each is watched before what is in it: what changes meanwhile makes an event. Returns why the
        last of them can't be watched; those above are a bonus.
        """
        refusal: OSError | None = None
        for place in (*reversed(path.parents), path):
            events = _FILE_EVENTS if place == path else _FOLDER_EVENTS
            try:
                watch = self._inotify.add(str(place), events)
            except (FileNotFoundError, NotADirectoryError):  # the folder above tells of it
                break
            except OSError as error:
                refusal = error
            else:
                refusal = None
                below = path.relative_to(place).parts[:1]
                self._awaited |= {Event(watch), Event(watch, os.fsencode("".join(below)))}
        return refusal
