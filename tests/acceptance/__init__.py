"""The installed program against the real programs that it works with."""
