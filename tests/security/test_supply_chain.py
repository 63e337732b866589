"""What is installed: floors, a lock with hashes, and an audit that never clears by silence."""

import json
import re
import runpy
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.test_repository import UNLOCKED

ROOT = Path(__file__).parents[2]
# The larger lock; tests/test_repository.py holds the smaller one to it.
LOCK = (ROOT / "requirements-dev.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = [
    Requirement(text)
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for text in group
]
BAD = {
    "lightning": ("2.5.0", "2.6.2", "2.6.3", "2.6.4", "2.6.5"),  # two uploads were malicious
    "hydra-core": ("1.3.2", "1.3.7"),  # CVE-2026-68508
    "jinja2": ("3.1.4", "3.1.5"),  # CVE-2025-27516
    "pillow": ("11.2.1", "12.1.0", "12.1.1"),  # CVE-2025-48379, CVE-2026-25990, CVE-2026-42308
    "torch": ("2.5.1",),  # CVE-2025-32434: weights_only=True ran code
    "scikit-learn": ("1.4.2",),  # CVE-2024-5206
    "pyyaml": ("5.3.1",),  # CVE-2020-14343
    "omegaconf": ("2.4.0",),  # hydra refuses it
    "sqlalchemy": ("2.0.0",),  # optuna 2.10 cannot use it
    "alembic": ("1.14.0",),
}


@pytest.mark.parametrize(("name", "version"), [(n, v) for n, bad in BAD.items() for v in bad])
def test_bad_releases_are_excluded(name, version):
    found = [r for r in REQUIREMENTS if r.name == name]
    assert found
    assert not any(r.specifier.contains(version, prereleases=True) for r in found)


def entries():
    """Head and following lines of each entry of the lock."""
    return re.findall(r"^(\S.*)\n((?:[ ].*\n)+)", LOCK, re.M)


def test_every_entry_of_the_lock_is_one_version_with_hashes():
    assert len(entries()) > 100
    for head, below in entries():
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; [^\\]+)? \\", head), head
        for line in below.splitlines():
            assert re.fullmatch(r" {4}(--hash=sha256:[0-9a-f]{64}( \\)?|#( .*)?)", line), line
        assert "--hash=" in below, head
    # Nothing stands between the entries.
    assert sum(1 + below.count("\n") for _, below in entries()) == LOCK.count("\n")


def test_no_place_stands_in_the_lock():
    # Whoever installs from it says where from: no index, no host, no file, no repository.
    assert not re.search(
        r"://|@|--(extra-)?index|--find-links|\bgit\+|localhost|\.(com|org|io)\b", LOCK
    )


def test_the_lock_satisfies_pyproject():
    pinned = {}
    for name, version in re.findall(r"^(\S+)==(\S+)", LOCK, re.M):
        pinned.setdefault(name, []).append(version)
    for requirement in REQUIREMENTS:
        if requirement.name in UNLOCKED:
            assert requirement.name not in pinned
            continue
        assert pinned.get(requirement.name), requirement.name
        for version in pinned[requirement.name]:
            assert requirement.specifier.contains(version), (requirement.name, version)


# ------------------------------------------------------------------------ the audit

HASH = f"    --hash=sha256:{'0' * 64}\n"
SMALL_LOCK = "".join(
    f"{head} \\\n{HASH}    # via something\n"
    for head in (
        "numpy==2.4.6 ; python_full_version < '3.12'",
        "numpy==2.5.5 ; python_full_version >= '3.12'",
        "colorama==0.4.6 ; sys_platform == 'win32'",
        "torch==2.14.1",
    )
)
BUG = {"id": "CVE-0000-1", "aliases": [], "summary": "bad", "affected": []}
CANARY = ("jinja2", "3.1.5")


class Service:
    """A vulnerability service on this machine, in the form of osv.dev's."""

    def __init__(self, known, status=200):
        self.asked, service = [], self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                asked = (query["package"]["name"], query["version"])
                service.asked.append(asked)
                body = json.dumps({"vulns": [BUG]} if asked in known else {}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    @property
    def options(self):
        return ("-s", "osv", "--osv-url", f"http://127.0.0.1:{self.server.server_port}/")


def audit(place, *options, lock=SMALL_LOCK):
    (place / "some.lock").write_text(lock)
    return subprocess.run(
        [sys.executable, ROOT / ".ci/audit.py", place / "some.lock", *options],
        capture_output=True,
        text=True,
    )


def test_every_entry_is_asked_about_whatever_its_platform(tmp_path):
    with Service({CANARY}) as service:
        done = audit(tmp_path, *service.options)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "4 locked packages, 0 known vulnerabilities\n"
    assert sorted(service.asked) == [
        ("colorama", "0.4.6"), CANARY, ("numpy", "2.4.6"), ("numpy", "2.5.5"), ("torch", "2.14.1"),
    ]  # fmt: skip


def test_what_is_known_is_named_and_fails(tmp_path):
    with Service({CANARY, ("numpy", "2.5.5")}) as service:
        done = audit(tmp_path, *service.options)
    assert done.returncode == 1
    assert "4 locked packages, 1 known vulnerabilities\n  - numpy 2.5.5: CVE-0000-1" in done.stdout


@pytest.mark.parametrize("silence", ["nothing known", "an error", "nobody there"])
def test_no_answer_is_no_all_clear(tmp_path, silence):
    with Service(set(), 503 if silence == "an error" else 200) as service:
        options = service.options
        if silence != "nobody there":
            done = audit(tmp_path, *options)
    if silence == "nobody there":
        done = audit(tmp_path, *options)
    assert done.returncode == 2
    assert "the vulnerability service did not answer" in done.stderr
    assert "may be vulnerable. Fix: " in done.stderr
    assert done.stdout == ""


def test_one_package_that_was_left_out_is_no_all_clear(monkeypatch):
    """As pip-audit does with what PyPI does not know, at exit status 0."""
    audited = runpy.run_path(str(ROOT / ".ci/audit.py"))["audited"]

    def answer(requirements, _):
        found = re.findall(r"^(\S+)==(\S+)", requirements, re.M)
        known = [
            {"name": n, "version": v, "vulns": [BUG] if n == "jinja2" else []} for n, v in found
        ]
        skipped = {"name": "torch", "skip_reason": "Dependency not found"}
        return [skipped if finding["name"] == "torch" else finding for finding in known]

    monkeypatch.setitem(audited.__globals__, "found_by_service", answer)
    with pytest.raises(Exception, match=r"1 of 4 packages\n  - torch 2.14.1"):
        audited(SMALL_LOCK, ())
