"""The dashboards, as code that stands on the metrics: `python -m grafana` writes them anew."""
