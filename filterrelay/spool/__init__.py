"""Where accepted mail is safe until the next hop has taken it."""
