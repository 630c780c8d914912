"""Where mail goes, as filterrelay.toml has it."""

import pytest
from pydantic import ValidationError

from filterrelay.settings import Delivery, Destination, Upstream


@pytest.mark.parametrize("key", ["retry", "give_up_after"])
def test_a_schedule_that_would_stop_all_mail_is_refused(key: str) -> None:
    """0 s until the next attempt would hammer a server, and until the bounce return all mail."""
    with pytest.raises(ValidationError, match="must be at least"):
        Delivery.model_validate({key: "0s"})


@pytest.mark.parametrize("key", ["timeout", "connect_timeout"])
def test_no_server_can_answer_in_no_time(key: str) -> None:
    """A next hop that may take 0 s never works."""
    with pytest.raises(ValidationError, match='must be at least "100ms"'):
        Upstream.model_validate({"name": "x", "hosts": ["y"], key: "0s"})


def test_a_destination_is_of_some_domain() -> None:
    """Limits for nobody's mail are a slip."""
    with pytest.raises(ValidationError, match="at least 1 item"):
        Destination.model_validate({"name": "nobody", "domains": []})
