"""What the configuration makes of delivery's parts."""

from pathlib import Path
from typing import Any

import pytest

from filterrelay.delivery.configured import keeps_requiretls
from filterrelay.settings import Settings

SMART = {"name": "provider", "hosts": ["smtp.provider.example:587"]}
DIRECT = {"name": "mx", "protocol": "mx"}
TO_DIRECT = {"upstream": "mx"}


@pytest.mark.parametrize(
    ("upstreams", "routes", "kept"),
    [
        ([SMART | {"tls": "required"}], [], True),
        ([SMART | {"tls": "dane"}], [], True),
        ([SMART | {"tls": "opportunistic"}], [], False),
        ([DIRECT], [], True),
        ([DIRECT | {"tls": "none"}], [], False),
        ([SMART | {"tls": "required"}], [TO_DIRECT], True),
        ([SMART | {"tls": "required"}], [TO_DIRECT | {"tls": "none"}], False),
        ([SMART | {"tls": "required"}], [{"upstream": "provider", "tls": "none"}], False),
        ([SMART | {"tls": "required"}], [{"upstream": "discard"}], True),
    ],
)
def test_requiretls_is_offered_when_every_way_can_keep_it(
    tmp_path: Path, upstreams: Any, routes: Any, kept: bool
) -> None:
    """By a smart host that proves its name, or by direct delivery, which asks the destination."""
    settings = Settings.model_validate(
        {
            "hostname": "relay.office.example",
            "state_dir": tmp_path,
            "listener": [{"kind": "smtp", "address": "127.0.0.1:0"}],
            "upstream": upstreams,
            "route": routes,
        }
    )
    assert keeps_requiretls(settings) is kept
