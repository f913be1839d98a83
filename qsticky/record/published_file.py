"""A file for everybody to read, in a folder where others may write too."""

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator

_ON_THE_WAY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LINKS = 40  # as many as the kernel follows


class PublishedFile:
    """The file at `path`, which is only ever replaced as a whole.

    Nothing that another user put there is written to, or changed in its mode: each new file is our
    own, and of the links on the way to its folder only root's and our own are followed. Every
    method raises OSError.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        # Text, for `pathlib` interns names, and the table of those grows by each that is made anew.
        self._path = os.path.abspath(path)
        self._name = os.path.basename(self._path)

    def replace(self, content: bytes) -> None:
        """Replace it in one step, so that a reader finds the old one or the new one whole.

        Its folder is made where it is missing.
        """
        with _folder_of(self._path, make=True) as folder:
            new = f".{self._name}.{secrets.token_hex(8)}"
            try:
                with open(os.open(new, _NEW, 0o600, dir_fd=folder), "wb") as file:
                    file.write(content)
                    os.fchmod(file.fileno(), 0o644)
                os.replace(new, self._name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(new, dir_fd=folder)
                raise

    def remove(self) -> None:
        """Take it away."""
        with _folder_of(self._path) as folder:
            os.unlink(self._name, dir_fd=folder)

    def remove_leftovers(self) -> None:
        """Take away what a process of ours that was killed in `replace` left beside it."""
        left = re.compile(rf"\.{re.escape(self._name)}\.[0-9a-f]{{16}}")
        with _folder_of(self._path) as folder:
            for name in filter(left.fullmatch, os.listdir(f"/proc/self/fd/{folder}")):
                if os.stat(name, dir_fd=folder, follow_symlinks=False).st_uid == os.geteuid():
                    os.unlink(name, dir_fd=folder)


@contextlib.contextmanager
def _folder_of(path: str, *, make: bool = False) -> Iterator[int]:
    """Open a file's folder name by name, with a look at each link on the way; its descriptor.

    An OSError of whatever is done meanwhile tells this path, and no name on the way to it.
    """
    with contextlib.ExitStack() as opened:
        try:
            yield _walk(path, opened, make=make)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None


def _walk(path: str, opened: contextlib.ExitStack, *, make: bool) -> int:
    def enter(name: str, folder: int | None = None) -> int:
        descriptor = os.open(name, _ON_THE_WAY, dir_fd=folder)
        opened.callback(os.close, descriptor)
        return descriptor

    root = folder = enter("/")
    names, links = os.path.dirname(path).split("/")[::-1], 0
    while names:
        name = names.pop() or "."
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=folder)
        entry = enter(name, folder)
        status = os.fstat(entry)
        if not stat.S_ISLNK(status.st_mode):
            folder = entry
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if status.st_uid not in (0, os.geteuid()):
            raise PermissionError(errno.EPERM, f"{name} is another user's link")
        target = os.readlink("", dir_fd=entry)
        names += target.split("/")[::-1]
        if target.startswith("/"):
            folder = root
    return folder
