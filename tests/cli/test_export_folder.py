"""Files that appear whole and durable, or not at all."""

import errno
import os
from pathlib import Path

import pytest

from filterrelay.cli import export_folder as module
from filterrelay.cli.export_folder import export_folder
from filterrelay.cli.mail_files import BadFile


def names(folder: Path) -> list[str]:
    """What anybody sees in the folder."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_draft_gets_its_name_when_it_is_durable(tmp_path: Path) -> None:
    """Before that nothing is seen, and afterwards no draft is left."""
    with export_folder(tmp_path) as folder:
        assert folder.lacks("a", b"mail")
        folder.draft("a", b"mail")
        folder.sync()
        assert names(tmp_path) == []
        folder.publish("a", b"mail")
        assert not folder.lacks("a", b"mail")
        folder.draft("b", b"never published")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"mail"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


def test_what_came_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    """The same is as good; another one is an error."""
    with export_folder(tmp_path) as folder:
        for name in ("same", "other", "link"):
            folder.draft(name, b"mail")
        (tmp_path / "same").write_bytes(b"mail")
        (tmp_path / "other").write_bytes(b"MAIL")
        (tmp_path / "link").symlink_to("nowhere")
        folder.publish("same", b"mail")
        for name in ("other", "link"):
            with pytest.raises(BadFile, match="is there already and is another"):
                folder.publish(name, b"mail")
    assert (tmp_path / "other").read_bytes() == b"MAIL"


def test_a_disk_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A USB stick has FAT; nothing is overwritten there, either."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    with export_folder(tmp_path) as folder:
        for name in ("new", "other"):
            folder.draft(name, b"mail")
        (tmp_path / "other").write_bytes(b"MAIL")
        folder.publish("new", b"mail")
        with pytest.raises(BadFile):
            folder.publish("other", b"mail")
    assert names(tmp_path) == ["new", "other"]
    assert (tmp_path / "new").read_bytes() == b"mail"
    assert (tmp_path / "other").read_bytes() == b"MAIL"


def test_what_the_disk_refuses_is_told_with_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was published before stays, and no draft takes space from whoever needs it now."""

    def full(_: int, __: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fill() -> None:
        with export_folder(tmp_path) as folder:
            folder.draft("a", b"mail")
            folder.publish("a", b"mail")
            monkeypatch.setattr(module, "write_all", full)
            folder.draft("b", b"mail")

    with pytest.raises(OSError, match="No space") as failed:
        fill()
    assert failed.value.filename == str(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_disk_that_does_not_keep_what_it_took_is_an_error(tmp_path: Path) -> None:
    """Nothing gets a name, then: os.sync would say nothing."""
    with export_folder(tmp_path) as folder:
        here = os.dup(folder._here)  # a descriptor that syncfs refuses is all it takes
        os.close(folder._here)  # the same
        with pytest.raises(OSError, match="Bad file descriptor"):
            folder.sync()
        os.dup2(here, folder._here)  # the same
        os.close(here)
