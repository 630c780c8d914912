"""Frozen values: what mail is made of, with no input or output of its own."""
