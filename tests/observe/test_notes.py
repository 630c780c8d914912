"""Notes get into a file and out of it again."""

import asyncio
from pathlib import Path

import pytest

from filterrelay.observe import notes
from filterrelay.observe.metrics import no_notes
from filterrelay.observe.notes import half_written, kept, notes_file, save
from filterrelay.plugin.testing import SOME_TIME as NOW


def test_only_logins_that_were_proven_are_counted() -> None:
    """A message without one names nobody; quarantined and discarded ones were accepted."""
    noted = no_notes()
    for verdict in ("pass", "quarantine", "discard", "reject", "defer"):
        noted.message("ann", verdict, NOW)
        noted.message("", verdict, NOW)
    assert noted.logins.told(5, "other", NOW) == {"ann": [3, 2], "other": [0, 0]}


def test_a_domain_is_one_whatever_way_it_is_written() -> None:
    """Case, and the two forms of a name beyond ASCII."""
    noted = no_notes()
    for domain in ("Partner.Example", "partner.example", "bücher.example", "xn--bcher-kva.example"):
        noted.recipient(domain, "deferred", NOW)
    told = noted.destinations.told(5, "other", NOW)
    assert told == {
        "partner.example": [0, 2, 0],
        "xn--bcher-kva.example": [0, 2, 0],
        "other": [0, 0, 0],
    }


async def test_notes_are_saved_when_something_was_added_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that starts again under the same name goes on with them."""
    monkeypatch.setattr(notes, "SAVE_EVERY", 0.01)
    file, noted = notes_file(tmp_path, "w0"), no_notes()
    async with kept(noted, file):
        await asyncio.sleep(0.05)
        assert not file.exists()
        noted.message("ann", "pass", NOW)
        async with asyncio.timeout(5):
            while not file.exists():  # noqa: ASYNC110  # a file tells nobody
                await asyncio.sleep(0.01)
        noted.recipient("partner.example", "delivered", NOW)
        noted.accepted.note("smtp", "ID", 0.1, NOW)
    again = no_notes()
    again.learn_from(file)
    assert again.text() == noted.text()
    assert file.stat().st_mode & 0o777 == 0o600


async def test_a_full_disk_disturbs_nobody(tmp_path: Path) -> None:
    """What is told of the last hour is all that is lost."""
    noted = no_notes()
    async with kept(noted, notes_file(tmp_path / "not there", "w0")):
        noted.message("ann", "pass", NOW)


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', "[1, 2, 3, 4]", '[{"x": []}, {}, [], []]'])
def test_a_damaged_file_is_as_if_it_were_not_there(tmp_path: Path, text: str) -> None:
    """Neither a worker nor the supervisor ends for it."""
    file = notes_file(tmp_path, "w0")
    file.write_text(text)
    noted = no_notes()
    noted.learn_from(file)
    assert noted.text() == no_notes().text()


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    """The supervisor may be root, in a folder that its workers can write to."""
    file, precious = notes_file(tmp_path, "gone"), tmp_path / "precious"
    precious.write_text("precious")
    half_written(file).symlink_to(precious)
    with pytest.raises(OSError, match="symbolic links"):
        save(file, "text")
    assert precious.read_text() == "precious"
