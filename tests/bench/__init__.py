"""The benchmark: filterrelay beside Postfix with OpenDKIM, and Haraka, in one interleaved run.

`make bench` or `python -m tests.bench --help`.
"""
