"""The demonstration's office."""

import os
from pathlib import Path

import dkim

from filterrelay.demo.office import keys, write
from filterrelay.demo.samples import samples
from filterrelay.observe.clock import SystemClock
from filterrelay.plugin.testing import SOME_TIME
from filterrelay.settings.file import load
from filterrelay.wire.certificate import self_signed


def test_its_configuration_is_a_good_one(tmp_path: Path) -> None:
    """It loads as any other, warnings aside."""
    office, clock = keys(tmp_path), SystemClock()
    write(office, "127.0.0.1:1", "127.0.0.1:2", *self_signed(["127.0.0.1"], clock.now()))
    settings = load(office.configuration, os.environ)
    assert [listener.name for listener in settings.listener] == ["submission", "inbound"]
    assert (tmp_path / "users").stat().st_mode & 0o077 == 0


def test_the_shops_signature_is_good_until_it_is_spoilt(tmp_path: Path) -> None:
    """The two samples differ as the table says, by dkimpy's word."""
    office, clock = keys(tmp_path), SystemClock()
    record = office.shop_key.public.record.encode()
    for sample in samples(SOME_TIME):
        if sample.signed:
            raw = office.ready(sample, clock)
            assert dkim.verify(raw, dnsfunc=lambda *_, **__: record) is not sample.spoilt
