"""A hub of Hugging Face on this machine: its HTTP interface as huggingface_hub speaks it."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from huggingface_hub import constants

TOKENS = {"hf_of_the_lab": "lab", "hf_of_a_guest": "guest"}
"""Users by their token."""
LFS = (".safetensors", ".onnx")


@dataclass
class Repository:
    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    @property
    def files(self):
        return self.commits[self.head]

    @property
    def head(self):
        return list(self.commits)[-1]

    def add(self, files, message):
        content = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        text = json.dumps([content, len(self.commits), message])
        self.commits[hashlib.sha1(text.encode()).hexdigest()] = files
        self.messages.append(message)


class Hub:
    """Repositories by USER/NAME, what was asked for, and uploads that no commit names yet."""

    def __init__(self):
        self.repositories: dict[str, Repository] = {}
        self.asked: list[str] = []
        self.uploads: dict[str, bytes] = {}
        self.status: int | None = None
        self.endpoint = ""

    @property
    def storage(self):
        """Another host by name, to which no token may be sent."""
        return self.endpoint.replace("127.0.0.1", "localhost")

    def downloads(self):
        """Names of the files that were downloaded, in their order."""
        files = [line for line in self.asked if line.startswith("GET /lfs/") or "/resolve/" in line]
        return [line.rpartition("/")[2] for line in files if line.startswith("GET ")]


class RefusalError(Exception):
    def __init__(self, status, code="", message=""):
        self.status, self.code, self.message = status, code, message


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args):
        pass

    def respond(self):
        self.path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            if self.hub.status:
                raise RefusalError(self.hub.status)
            self.route(self.path.strip("/").split("/"), body)
        except RefusalError as refusal:
            headers = {"X-Error-Code": refusal.code} if refusal.code else {}
            self.send(refusal.status, {"error": refusal.message}, headers)

    do_GET = do_POST = do_PUT = do_HEAD = respond  # noqa: N815

    def send(self, status, answer=None, headers=()):
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(content), **dict(headers)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    @property
    def user(self):
        given = self.headers.get("Authorization")
        if given is None:
            return None
        if (token := given.removeprefix("Bearer ")) not in TOKENS:
            raise RefusalError(401, message="Invalid credentials in Authorization header")
        return TOKENS[token]

    def repository(self, name):
        found = self.hub.repositories.get(name)
        if found is None or (found.private and self.user != name.split("/")[0]):
            raise RefusalError(404 if self.user else 401, "RepoNotFound", "Repository not found")
        return found

    def commit(self, name, revision):
        found = self.repository(name)
        oid = found.head if revision == "main" else revision
        if oid not in found.commits:
            raise RefusalError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return oid, found.commits[oid]

    def route(self, parts, body):
        match parts:
            case ["api", "whoami-v2"]:
                if self.user is None:
                    raise RefusalError(401)
                self.send(200, {"type": "user", "name": self.user, "orgs": []})
            case ["api", "repos", "create"]:
                self.create(json.loads(body))
            case ["api", "validate-yaml"]:
                self.send(200, {"errors": [], "warnings": []})
            case ["api", "models", user, name, *rest]:
                self.api(f"{user}/{name}", rest, body)
            case [user, name, "info", "lfs", "objects", "batch"]:
                self.batch(f"{user}/{name.removesuffix('.git')}", json.loads(body))
            case ["lfs", oid, *_] if self.command == "PUT":
                assert hashlib.sha256(body).hexdigest() == oid
                self.hub.uploads[oid] = body
                self.send(200)
            case ["lfs", oid, _]:
                assert "Authorization" not in self.headers
                self.send(200, self.hub.uploads[oid])
            case [user, name, "resolve", revision, file]:
                self.resolve(f"{user}/{name}", revision, file)
            case _:
                raise RefusalError(404)

    def create(self, wanted):
        owner = wanted["organization"] or self.user
        name = f"{owner}/{wanted['name']}"
        if self.user is None or owner != self.user:
            raise RefusalError(403, message="You don't have the rights to create a model there")
        if name in self.hub.repositories:
            raise RefusalError(409, message="You already created this model repo")
        private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
        self.hub.repositories[name] = Repository(private)
        self.hub.repositories[name].add({".gitattributes": b"*.onnx filter=lfs\n"}, "initial")
        self.send(200, {"url": f"{self.hub.endpoint}/{name}", "name": name, "id": name})

    def api(self, name, rest, body):
        match rest:
            case [] | ["revision", _]:
                oid, files = self.commit(name, rest[1] if rest else "main")
                siblings = [{"rfilename": file} for file in files]
                private = self.repository(name).private
                info = {"id": name, "sha": oid, "private": private, "siblings": siblings}
                self.send(200, info)
            case ["tree", revision]:
                _, files = self.commit(name, revision)
                self.send(200, [tree_entry(file, data) for file, data in files.items()])
            case ["preupload", _]:
                self.writable(name)
                asked = [file["path"] for file in json.loads(body)["files"]]
                modes = ["lfs" if file.endswith(LFS) else "regular" for file in asked]
                answer = [
                    {"path": file, "uploadMode": mode, "shouldIgnore": False, "oid": None}
                    for file, mode in zip(asked, modes, strict=True)
                ]
                self.send(200, {"files": answer})
            case ["commit", "main"]:
                self.add_commit(name, [json.loads(line) for line in body.splitlines()])
            case _:
                raise RefusalError(404)

    def writable(self, name):
        found = self.repository(name)
        if self.user != name.split("/")[0]:
            raise RefusalError(403 if self.user else 401, message="no right to write")
        return found

    def add_commit(self, name, lines):
        found = self.writable(name)
        files, summary = dict(found.files), ""
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                summary = value["summary"]
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.uploads[value["oid"]]
            else:
                assert line["key"] == "deletedFile"
                del files[value["path"]]
        found.add(files, summary)
        url = f"{self.hub.endpoint}/{name}/commit/{found.head}"
        self.send(200, {"success": True, "commitOid": found.head, "commitUrl": url})

    def batch(self, name, wanted):
        self.writable(name)
        objects = [
            each
            | {
                "actions": {
                    "upload": {"href": f"{self.hub.endpoint}/lfs/{each['oid']}", "header": {}}
                }
            }
            for each in wanted["objects"]
        ]
        self.send(200, {"transfer": "basic", "objects": objects})

    def resolve(self, name, revision, file):
        oid, files = self.commit(name, revision)
        if file not in files:
            raise RefusalError(404, "EntryNotFound", "Entry not found")
        data = files[file]
        headers = {"X-Repo-Commit": oid, "ETag": f'"{git_oid(data)}"'}
        if not file.endswith(LFS):
            self.send(200, data, headers)
            return
        # As the hub does, from another place than the repository.
        sha = hashlib.sha256(data).hexdigest()
        self.hub.uploads[sha] = data
        linked = {"X-Linked-Etag": f'"{sha}"', "X-Linked-Size": len(data)}
        place = {"Location": f"{self.hub.storage}/lfs/{sha}/{file}"}
        self.send(302, b"", headers | linked | place)


def git_oid(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def tree_entry(file, data):
    entry = {"type": "file", "path": file, "size": len(data), "oid": git_oid(data)}
    if file.endswith(LFS):
        sha = hashlib.sha256(data).hexdigest()
        entry["lfs"] = {"oid": sha, "size": len(data), "pointerSize": 134}
    return entry


@contextmanager
def running_hub():
    """A hub that answers at `endpoint` while the block runs."""
    hub = Hub()
    handler = type("HubHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def use_hub(monkeypatch, endpoint, home):
    """What HF_ENDPOINT, HF_HOME and HF_HUB_DISABLE_XET set in a new process, in this one."""
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    settings = {
        "ENDPOINT": endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": template,
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_STORED_TOKENS_PATH": str(home / "stored_tokens"),
        # The server speaks LFS alone.
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_OFFLINE": False,
    }
    for name, value in settings.items():
        monkeypatch.setattr(constants, name, value)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
