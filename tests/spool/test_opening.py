"""What `[spool] url` may say."""

from pathlib import Path

import pytest

from filterrelay.spool.memory import MemorySpool
from filterrelay.spool.opening import BadSpoolUrl, open_spool
from filterrelay.spool.store import Spool

from .deposits import StandingClock


def opened(url: str, state_dir: Path) -> Spool:
    """The spool at that URL."""
    return open_spool(url, state_dir, free_space=0, metrics=None, clock=StandingClock())


async def test_three_slashes_are_below_the_state_directory(tmp_path: Path) -> None:
    """`sqlite:///spool.sqlite` lies with all else that the relay keeps."""
    spool = opened("sqlite:///spool.sqlite", tmp_path)
    await spool.open()
    await spool.close()
    assert (tmp_path / "spool.sqlite").is_file()  # nothing else runs here


async def test_a_fourth_slash_makes_it_absolute(tmp_path: Path) -> None:
    """`sqlite:////mnt/mail/spool.sqlite` lies on a disk of its own."""
    spool = opened(f"sqlite:///{tmp_path}/elsewhere/spool.sqlite", Path("/nonexistent"))
    await spool.open()
    await spool.close()
    assert (tmp_path / "elsewhere" / "spool.sqlite").is_file()  # as above


def test_memory_is_for_tests(tmp_path: Path) -> None:
    """`memory:` needs no disk."""
    assert isinstance(opened("memory:", tmp_path), MemorySpool)


@pytest.mark.parametrize(
    "url", ["", "spool.sqlite", "sqlite:", "sqlite:///", "sqlite://spool", "sqlite:///a/", "x:///y"]
)
def test_other_urls_are_refused(url: str, tmp_path: Path) -> None:
    """What can't be opened is said at the start, with what would be right."""
    with pytest.raises(BadSpoolUrl, match="sqlite"):
        opened(url, tmp_path)


def test_a_refused_url_keeps_its_password(tmp_path: Path) -> None:
    """The reason goes to the log; what stands in the URL doesn't."""
    with pytest.raises(BadSpoolUrl) as refused:
        opened("mysql://relay:secret@db/spool", tmp_path)
    assert "secret" not in str(refused.value)
