"""Real servers and clients, each on loopback, from a directory of its own, ended with its test."""
