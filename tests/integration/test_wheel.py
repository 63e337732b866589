"""An installed wheel carries the configuration and the report's templates."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_commands_work_from_a_wheel_elsewhere(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "-w", tmp_path, ROOT], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert "hep2gan/reports/page/templates/report.html.j2" in names
    assert "hep2gan/inference/templates/MODEL_CARD.md.j2" in names
    assert "hep2gan/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "conf/"))]
    shown = subprocess.run(
        [sys.executable, "-m", "hep2gan.cli.train", "--cfg", "job", "data=phantom"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert "encoder: tu-xception65" in shown.stdout, shown.stderr
    where = subprocess.run(
        [sys.executable, "-c", "from hep2gan.cli.app import config_folder as f; print(f())"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert where.stdout.strip() == str(tmp_path / "site/hep2gan/conf")
