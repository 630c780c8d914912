"""A mail filter that runs as an appliance."""

from importlib.metadata import version

__version__ = version("filterrelay")
