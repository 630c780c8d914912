"""filterrelay.toml: its values, and how the file is read, checked and explained."""

from filterrelay.settings.models import (
    ConsoleSettings,
    Dns,
    Filter,
    Limits,
    Listener,
    Log,
    MetricsSettings,
    PluginUse,
    QuarantineSettings,
    Settings,
    SpoolSettings,
    TlsFiles,
)
from filterrelay.settings.outbound import Delivery, Destination, RouteRule, Upstream
from filterrelay.settings.section import Network, Pattern, Section

__all__ = [
    "ConsoleSettings",
    "Delivery",
    "Destination",
    "Dns",
    "Filter",
    "Limits",
    "Listener",
    "Log",
    "MetricsSettings",
    "Network",
    "Pattern",
    "PluginUse",
    "QuarantineSettings",
    "RouteRule",
    "Section",
    "Settings",
    "SpoolSettings",
    "TlsFiles",
    "Upstream",
]
