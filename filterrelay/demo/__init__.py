"""The demonstration: sample messages and an upstream to receive them."""
