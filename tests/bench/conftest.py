"""Lets tests import `tests.bench`, which is a program beside the package, not a part of it."""

import sys
from pathlib import Path

_ROOT = str(Path(__file__).parents[2])
if _ROOT not in sys.path:  # `python -m pytest` has it there, `pytest` has not
    sys.path.insert(0, _ROOT)
