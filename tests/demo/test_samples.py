"""The sample messages."""

import io
import zipfile

import clamd
import pytest

from filterrelay.demo.samples import Sample, samples
from filterrelay.mail.message import Message
from filterrelay.plugin.testing import SOME_TIME


@pytest.mark.parametrize("sample", samples(SOME_TIME), ids=lambda s: s.title)
def test_a_sample_is_a_whole_message(sample: Sample) -> None:
    """With the usual fields, CRLF line ends and readable parts."""
    message = Message("ID", sample.raw)
    for name in ("from", "to", "subject", "date", "message-id"):
        assert len(message.all(name)) == 1
    assert b"\n" not in sample.raw.replace(b"\r\n", b"")
    assert message.parts[0].text


def test_the_archive_really_holds_eicar() -> None:
    """What the default filters must find is there."""
    (sample,) = [s for s in samples(SOME_TIME) if s.title.startswith("EICAR")]
    archive = Message("ID", sample.raw).parts[-1].content
    with zipfile.ZipFile(io.BytesIO(archive)) as zipped:
        assert zipped.read(zipped.namelist()[0]) == clamd.EICAR
