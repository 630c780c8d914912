"""The folder that an export goes to: each file appears in it whole and durable, or not at all."""

import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from filterrelay.cli.mail_files import BadFile
from filterrelay.spool.bodies import write_all

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP)  # FAT, as on a USB stick, and some shares have none


class ExportFolder:
    """Many files are drafted, then made durable together, then given their names.

    Never over another file's. Everything raises OSError.
    """

    def __init__(self, path: Path, here: int, drafts: int) -> None:
        """here, drafts: the open folder, and a hidden one in it."""
        self._path = path
        self._here = here
        self._drafts = drafts

    def lacks(self, name: str, content: bytes) -> bool:
        """Whether the file is yet to be written.

        Raises BadFile when something else is there: left by a crash, or from when more
        recipients waited for the message.
        """
        try:
            found = os.stat(name, dir_fd=self._here, follow_symlinks=False)
        except FileNotFoundError:
            return True
        if not self._is_the_same(name, content, found):
            raise BadFile(
                f"{self._path / name} is there already and is another; export to a new folder"
            )
        return False

    def _is_the_same(self, name: str, content: bytes, found: os.stat_result) -> bool:
        if not stat.S_ISREG(found.st_mode) or found.st_size != len(content):
            return False
        with os.fdopen(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._here), "rb") as file:
            return file.read() == content

    def draft(self, name: str, content: bytes) -> None:
        """Writes it for its owner only, under a name that nobody looks for."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        file = os.open(name, flags, 0o600, dir_fd=self._drafts)
        try:
            write_all(file, content)
        finally:
            os.close(file)

    def sync(self) -> None:
        """Makes all drafts and names durable: one request for thousands of files.

        By syncfs(2), because os.sync tells no errors.
        """
        if ctypes.CDLL(None, use_errno=True).syncfs(self._here):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(self._path))

    def publish(self, name: str, content: bytes) -> None:
        """Gives a draft that is durable its name. Raises BadFile as `lacks` does."""
        try:
            os.link(name, name, src_dir_fd=self._drafts, dst_dir_fd=self._here)
        except OSError as error:
            if self.lacks(name, content):
                if error.errno not in _NO_LINKS:
                    raise
                os.rename(name, name, src_dir_fd=self._drafts, dst_dir_fd=self._here)
                return
        os.unlink(name, dir_fd=self._drafts)


@contextmanager
def export_folder(path: Path) -> Iterator[ExportFolder]:
    """The folder at the path; at the end no draft is left, and what was published is durable.

    Raises OSError with the folder's name.
    """
    with (
        TemporaryDirectory(dir=path, prefix=".export-") as drafts,
        _opened(path) as here,
        _opened(drafts) as there,
    ):
        folder = ExportFolder(path, here, there)
        try:
            yield folder
        except OSError as error:  # which knows no more than the name in it
            raise OSError(error.errno, error.strerror, str(path)) from error
        finally:
            folder.sync()


@contextmanager
def _opened(path: Path | str) -> Iterator[int]:
    file = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)
