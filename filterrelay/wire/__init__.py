"""Protocols as bytes and values, without sockets."""
