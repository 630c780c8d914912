"""The chain of plugins that every message passes."""
