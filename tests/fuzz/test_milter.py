"""The milter codec bears what atheris comes up with in some seconds."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNS = 8000
MOST_SECONDS = 8


def test_the_codec_bears_what_is_found(tmp_path: Path) -> None:
    """Beginning with real conversations, guided by the code that they lead to."""
    if find_spec("atheris") is None:
        why = "atheris is not installed: pip install '.[test]' does it where it exists"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(why)
        pytest.skip(why)
    command = [sys.executable, "-m", "tests.fuzz.milter", str(tmp_path), "-seed=1", "-max_len=3000"]
    limits = [f"-runs={RUNS}", f"-max_total_time={MOST_SECONDS}", f"-artifact_prefix={tmp_path}/"]
    ran = subprocess.run(
        command + limits, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert "Done " in ran.stderr
