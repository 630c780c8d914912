"""What the core lends to plugins."""

from pathlib import Path

from filterrelay.plugin.testing import some_services


def test_a_plugins_state_directory_is_made_when_needed(tmp_path: Path) -> None:
    """Its own, and not readable for others."""
    services = some_services("mine", state_dir=tmp_path)
    assert not (tmp_path / "mine").exists()
    made = services.make_state_dir()
    assert made == tmp_path / "mine"
    assert made.stat().st_mode & 0o007 == 0
