"""The launcher, taken along into another project, launches its jobs: docs/launcher.md."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "hep2gan" / "cli" / "launch"
# Nothing of this project is found, wherever it is installed.
ALONE = "import sys\nsys.modules['hep2gan'] = None\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the page's programs, and the launcher copied as the page says."""
    monkeypatch.chdir(tmp_path)
    sources = [*LAUNCH.glob("*.py"), ROOT / "hep2gan" / "io.py", ROOT / "hep2gan" / "errors.py"]
    programs = {f"launcher/{path.name}": path.read_text() for path in sources}
    page = (ROOT / "docs" / "launcher.md").read_text()
    programs |= dict(re.findall(r"```\w+\n# (\S+)\n(.*?)```", page, re.DOTALL))
    for name, text in programs.items():
        text = re.sub(r"hep2gan(\.cli\.launch|(?=\.(io|errors)\b))", "launcher", text)
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text((ALONE if name in ("launch.py", "app.py") else "") + text)
    return tmp_path


def start(*words):
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "RANK")}
    return subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment | {"PYTHONPATH": "."},
    )


def run(*words):
    process = start(*words)
    return process.communicate(timeout=60)[0], process.returncode


def test_what_fails_is_named_and_what_is_done_is_not_done_again(project):
    said, status = run("launch.py", "4", "13", "6")
    assert status == 1
    assert "3 jobs: 2 done, 1 failed\nup to 4: 10\nup to 6: 21\n" in said
    assert (
        "error: 1 of 3 jobs failed\n"
        "  - sums/13: exit status 1; error: 13 is unlucky (log: sums/13/output.log)\n" in said
    )
    Path("lucky").touch()
    said, status = run("launch.py", "4", "13", "6")
    assert status == 0
    assert said.count("done before\n") == 2
    assert said.endswith("3 jobs: 3 done, 0 failed\nup to 4: 10\nup to 13: 91\nup to 6: 21\n")


def test_a_launch_that_is_stopped_lets_its_jobs_save_and_goes_on(project):
    process = start("launch.py", "150")
    log = Path("sums/150/output.log")
    while not log.exists():
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(1.0)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=30)[0]
    assert process.returncode == 143
    assert "0 of 1 job finished, left:\n  - sums/150: a part is saved\n" in said
    assert said.endswith("The same command goes on: python launch.py 150\n")
    before = Path("sums/150/state.json").read_text()
    assert 0 < int(before.strip("[").split(",")[0]) < 150
    assert run("launch.py", "150")[0].endswith(f"up to 150: {150 * 151 // 2}\n")


def test_hydra_composes_its_sweeps(project):
    said, status = run("app.py", "-m", "n=4,13,5")
    assert status == 1
    assert "up to 4: 10" in said
    assert "[2] the sum up to 5  finished" in said
    assert "1 of 3 jobs failed" in said
    assert "sums/13: exit status 1; error: 13 is unlucky" in said
    Path("lucky").touch()
    said, status = run("app.py", "-m", "n=4,13")
    assert status == 0, said
    assert "up to 13: 91" in said
    said, status = run("app.py", "-m", "n=4,4")
    assert status == 1
    assert "several jobs of the sweep would write into the same folder\n  - sums/4\n" in said
