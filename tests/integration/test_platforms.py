"""The locks have wheels for each system and Python that is named."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
BUILT = ("antlr4-python3-runtime", "sqlalchemy")
"""What has no wheel: Hydra 1.3's grammar nowhere, SQLAlchemy 1.4 on Python 3.13 alone."""


def resolve(lock, python, platform, place):
    """A dry run of uv for another system; skips where no registry answers."""
    words = ["pip", "install", "--dry-run", "--require-hashes", "-r", ROOT / lock, "--no-config"]
    words += ["--target", place, "--python-version", python, "--python-platform", platform]
    words += ["--only-binary", ":all:", *(w for name in BUILT for w in ("--no-binary", name))]
    environment = os.environ | {"MACOSX_DEPLOYMENT_TARGET": "14.0", "UV_HTTP_RETRIES": "0"}
    done = subprocess.run(
        [UV, *words], env=environment, capture_output=True, text=True, timeout=120
    )
    if any(word in done.stderr for word in ("client error (Connect)", "Failed to fetch")):
        pytest.skip("the Python Package Index cannot be reached")
    return done


@pytest.mark.integration
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize(
    "platform", ["x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin"]
)
def test_the_locks_resolve(platform, python, tmp_path):
    for lock in ("requirements.lock", "requirements-dev.lock"):
        done = resolve(lock, python, platform, tmp_path)
        assert done.returncode == 0, done.stderr
        assert " + torch==" in done.stderr
        assert (" + triton==" in done.stderr) == ("linux" in platform)


@pytest.mark.integration
def test_a_mac_with_an_intel_processor_is_refused_by_what_has_no_wheel_for_it(tmp_path):
    # Of PyTorch none since 2.2, of cryptography, which MLflow's client needs, none either: the day
    # this fails, docs/install.md is wrong.
    done = resolve("requirements.lock", "3.11", "x86_64-apple-darwin", tmp_path)
    assert done.returncode != 0
    # uv names one of the packages, in more than one way.
    assert re.search(r"has no (usable )?wheels|no wheels with a matching platform", done.stderr)
