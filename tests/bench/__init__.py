"""The benchmark: filterrelay beside Postfix with OpenDKIM, and Haraka, in one interleaved run.

Then its milter beside OpenDKIM and rspamd behind one Postfix, its proxy door and its codec.

`make bench` or `python -m tests.bench --help`.
"""
