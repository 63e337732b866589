"""Imports point one way: the contracts of pyproject.toml hold."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_imports_point_down():
    tool = Path(sys.executable).with_name("lint-imports")
    assert tool.exists() or shutil.which("lint-imports")
    done = subprocess.run([tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
