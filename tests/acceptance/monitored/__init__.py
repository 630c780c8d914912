"""A whole office under watch: the program, every kind of peer and mail, and Prometheus."""
