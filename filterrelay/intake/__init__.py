"""The one way in: from a transaction to an outcome."""
