"""Filtering for a real Postfix: its ways to us, the mail, and a plugin that obeys it."""
