"""A mail filter that runs as an appliance."""

__version__ = "0.1.0"
