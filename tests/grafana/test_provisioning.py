"""grafana/provisioning/: what Grafana reads when it starts."""

from pathlib import Path

import yaml

FOLDER = Path(__file__).parent.parent.parent / "grafana" / "provisioning"


def test_the_dashboards_are_read_from_one_folder() -> None:
    """And what is changed in Grafana doesn't hide the next version of ours."""
    written = yaml.safe_load((FOLDER / "dashboards" / "filterrelay.yaml").read_text())
    (provider,) = written["providers"]
    assert written["apiVersion"] == 1
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)
    assert provider["options"]["path"].startswith("/")


def test_prometheus_is_offered_to_the_dashboards() -> None:
    """They take the default one unless another is chosen."""
    written = yaml.safe_load((FOLDER / "datasources" / "prometheus.yaml").read_text())
    (source,) = written["datasources"]
    assert written["apiVersion"] == 1
    assert (source["type"], source["access"], source["isDefault"]) == ("prometheus", "proxy", True)
    assert source["jsonData"]["timeInterval"] == "15s"
