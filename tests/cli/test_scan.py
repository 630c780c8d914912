"""`filterrelay scan` shows what the filters would say."""

from pathlib import Path

from .conftest import Run


def a_spf_only(configuration: Path) -> None:
    """One filter, and a name server that nobody listens on."""
    text = configuration.read_text()
    configuration.write_text(
        f'{text}[[filter]]\nuse = "dkim"\n[dns]\nservers = ["127.0.0.1:9"]\ntimeout = "1s"\n'
    )


def test_it_prints_each_plugins_turn(configuration: Path, filterrelay: Run) -> None:
    """A stored message with bare line feeds is judged, and nothing is sent or kept."""
    a_spf_only(configuration)
    message = configuration.parent / "one.eml"
    message.write_bytes(b"From: a@office.example\nSubject: x\n\nHello\n")
    ran = filterrelay("scan", "--json", "one.eml")
    assert ran.code == 0, ran.err
    (result,) = ran.json
    assert (result["file"], result["verdict"]) == ("one.eml", "pass")
    assert result["steps"][0]["plugin"] == "dkim"
    assert result["steps"][0]["finding"]["result"] == "none"
    assert not (configuration.parent / "state" / "spool.sqlite").exists()


def test_a_person_gets_a_table(configuration: Path, filterrelay: Run) -> None:
    """Verdict first, then who said what."""
    a_spf_only(configuration)
    (configuration.parent / "one.eml").write_bytes(b"Subject: x\n\nHello\n")
    ran = filterrelay("scan", "one.eml")
    assert "one.eml: pass" in ran.out
    assert "dkim" in ran.out


def test_wrong_usage_is_said(configuration: Path, filterrelay: Run) -> None:
    """A missing file, a wrong address, an unknown listener: exit code 2."""
    (configuration.parent / "one.eml").write_bytes(b"Subject: x\n\nHello\n")
    assert filterrelay("scan", "missing.eml").code == 2
    assert filterrelay("scan", "one.eml", "--from", "no address").code == 2
    assert filterrelay("scan", "one.eml", "--listener", "nowhere").code == 2
