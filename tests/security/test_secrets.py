"""A key in the environment or in ~/.netrc is used and never written down."""

import gzip
import io
import stat
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
import torch

from hep2gan.cli.worker import config_file
from tests.helpers.started import NETS, SMALL, TWO, train

KEY = "0123456789abcdef" + "fedcba9876543210" + "01234567"
PASSWORD, TOKEN = "marked-password-of-a-database", "marked_token_of_a_git_host"
SECRETS = [KEY, PASSWORD, TOKEN]
TRAINING = (*SMALL, *NETS, "trainer.max_epochs=1", "logger=wandb")


def traces(content, secrets=SECRETS):
    """Which secrets bytes hold: plain, in numpy's wide characters, in members of archives."""
    encodings = ("utf-8", "utf-16-le", "utf-32-le")
    found = {s for s in secrets if any(s.encode(wide) in content for wide in encodings)}
    if content[:2] == b"\x1f\x8b":
        found |= traces(gzip.decompress(content), secrets)
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                found |= traces(name.encode() + archive.read(name), secrets)
    return found


def leaks(*folders):
    """Files that hold a secret, in their content or name, with what they hold."""
    files = [path for folder in folders for path in folder.rglob("*")]
    held = {
        p: traces(p.read_bytes() if p.is_file() else b"") | traces(str(p).encode()) for p in files
    }
    return {str(path): found for path, found in held.items() if found}


def test_the_search_finds_what_is_planted(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", value=np.array([KEY]))
    torch.save({"config": {"key": KEY}}, tmp_path / "b.ckpt")
    (tmp_path / "c.log.gz").write_bytes(gzip.compress(TOKEN.encode()))
    (tmp_path / "d.wandb").write_bytes(b"\x00\x12" + PASSWORD.encode() + b"\xff")
    (tmp_path / "e.txt").write_text("nothing")
    (tmp_path / KEY).touch()
    assert len(leaks(tmp_path)) == 5


@pytest.fixture
def place(tmp_path):
    """A checkout with a token in its remote, a home and a temporary folder, all empty else."""
    for name in ("work/.git", "home", "temporary"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "work/.git/HEAD").write_text("ref: refs/heads/main\n")
    (tmp_path / "work/.git/refs").mkdir()
    (tmp_path / "work/.git/objects").mkdir()
    remote = f'[remote "origin"]\n\turl = https://somebody:{TOKEN}@git.example/a/b.git\n'
    (tmp_path / "work/.git/config").write_text(remote)
    return tmp_path


def secret_environment(place):
    folders = {"HOME": str(place / "home"), "TMPDIR": str(place / "temporary")}
    return folders | {"NETRC": str(place / "netrc"), "DATABASE_PASSWORD": PASSWORD}


def assert_kept(place, shown):
    assert not traces(shown.encode())
    assert not leaks(
        place / "work/runs", place / "work/stores", place / "home", place / "temporary"
    )
    assert not list((place / "temporary").glob("hep2gan-*"))


@pytest.mark.integration
@pytest.mark.parametrize(
    ("where", "devices"),
    [
        ("environment", TWO),
        pytest.param("environment", (), marks=pytest.mark.slow),
        pytest.param("netrc", (), marks=pytest.mark.slow),
    ],
    ids=["environment, two ranks", "environment", "netrc"],
)
def test_a_training_keeps_it(place, where, devices):
    env = secret_environment(place)
    if where == "environment":
        env["WANDB_API_KEY"] = KEY
    else:
        login = f"machine api.wandb.ai login user password {KEY}\n"
        (place / "netrc").write_text(login)
    done = train(place / "work", *TRAINING, *devices, "logger.mode=offline", env=env)
    run = "runs/default/proposed/seed0"
    assert (place / "work" / run / "DONE").exists()
    (record,) = (place / "work" / run).glob("wandb/offline-run-*/run-*.wandb")
    # wandb writes the remote down: without its password.
    assert b"git.example/a/b.git" in record.read_bytes()
    report = ("-m", "hep2gan.cli.report")
    told = train(place / "work", run, "output=runs/report.html", command=report, env=env)
    asked = train(place / "work", *TRAINING, "--cfg", "job", env=env)
    assert_kept(place, done.output + told.output + asked.output)


class Refusing(BaseHTTPRequestHandler):
    """A wandb server that knows no key."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b'{"errors": [{"message": "user is not logged in"}]}'
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.do_POST()

    def log_message(self, *_):
        pass


@pytest.mark.integration
@pytest.mark.parametrize(
    "devices",
    [(), pytest.param(TWO, marks=pytest.mark.slow)],
    ids=["one process", "two ranks"],
)
def test_the_error_about_a_refused_key_keeps_it(place, devices):
    server = HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    env = secret_environment(place) | {"WANDB_API_KEY": KEY, "WANDB_BASE_URL": url}
    done = train(place / "work", *TRAINING, *devices, check=False, env=env)
    server.shutdown()
    server.server_close()
    assert done.returncode == 2
    assert "check the key (wandb login)" in done.output
    assert_kept(place, done.output)


@pytest.mark.integration
def test_a_malformed_key_is_refused_without_showing_it(place):
    env = secret_environment(place) | {"WANDB_API_KEY": TOKEN}
    done = train(place / "work", *TRAINING, check=False, env=env)
    assert done.returncode == 2
    assert done.output.splitlines()[-1] == (
        "error: the key in WANDB_API_KEY is malformed: a key has 40 letters, digits and underscores"
        " or more. Fix: copy it whole, or unset it and `wandb login`, or set logger.mode=offline,"
        " and `wandb sync` later."
    )
    assert_kept(place, done.output)


STUDY = (*SMALL, *NETS, "-m", "hydra/sweeper=optuna", "split.validation_fraction=0.2")


@pytest.mark.integration
@pytest.mark.parametrize(
    ("storage", "said"),
    [
        (f"sqlite://me:{PASSWORD}@host/db", "Invalid SQLite URL: sqlite://me:***@host/db"),
        (f"sqlite:///me:{PASSWORD}@host.db", "Study default in sqlite:///me:***@host.db"),
    ],
)
def test_the_password_of_a_studys_database_is_not_shown(tmp_path, storage, said):
    pytest.importorskip("optuna")
    sweep = (*STUDY, f"hydra.sweeper.storage='{storage}'", "hydra.sweeper.n_trials=0")
    done = train(tmp_path, *sweep, check=False)
    assert said in done.output
    assert PASSWORD not in done.output
    assert not traces(b"".join(p.read_bytes() for p in tmp_path.rglob("*.log")))


def test_the_configuration_for_the_ranks_is_for_its_owner_alone_and_goes(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with config_file({"a": 1}) as file:
        assert file.parent == tmp_path
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(KeyboardInterrupt), config_file({}):
        raise KeyboardInterrupt
    with pytest.raises(TypeError), config_file({"a": object()}):
        pass
    assert not list(tmp_path.iterdir())
