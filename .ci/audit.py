"""Hold every package of requirements.lock against the known vulnerabilities; `make audit`.

Exit status: 0 all were asked about and none is known, 1 some are, 2 not all could be asked about.
Further arguments go to pip-audit, such as `-s osv` for another service.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hep2gan.errors import Hep2ganError, bullet_list

# A name and version, perhaps for some platforms only, and its hashes.
_ENTRY = re.compile(r"^([\w.-]+)==(\S+)(?: ; [^\\\n]+)? \\\n((?:    --hash=\S+(?: \\)?\n)+)", re.M)
# Known to be vulnerable (CVE-2025-27516): a service that does not say so says nothing of others.
_CANARY = "jinja2==3.1.5"
Finding = dict[str, Any]


def entries(lock: str) -> list[tuple[str, str, str]]:
    """Name, version and lines of hashes of each entry, those of other platforms included."""
    return [(name, version, hashes) for name, version, hashes in _ENTRY.findall(lock)]


def found_by_service(requirements: str, options: Sequence[str]) -> list[Finding]:
    """What pip-audit says of each package; raises Hep2ganError where it has no answer at all."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requirements.txt"
        file.write_text(requirements, encoding="utf-8")
        command = ["-m", "pip_audit", "-r", str(file), "--disable-pip", "--no-deps", "-f", "json"]
        done = subprocess.run(
            [sys.executable, *command, "--progress-spinner", "off", *options],
            capture_output=True,
            text=True,
        )
    try:
        findings: list[Finding] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        words = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise unanswered(words[-1][:300] if words else f"exit status {done.returncode}") from None
    return findings


def unanswered(what: str) -> Hep2ganError:
    """No answer is no all-clear."""
    return Hep2ganError(
        f"the vulnerability service did not answer: {what}",
        "a package that could not be asked about may be vulnerable",
        "give the command where the Python Package Index can be reached, or ask another service:"
        ' make audit AUDIT="-s osv"',
    )


def check_service(options: Sequence[str]) -> None:
    """Raise Hep2ganError unless the service names what is known of a vulnerable release."""
    findings = found_by_service(f"{_CANARY}\n", options)
    if skipped := [finding["skip_reason"] for finding in findings if "skip_reason" in finding]:
        raise unanswered(skipped[0])
    if not any(finding["vulns"] for finding in findings):
        raise unanswered(f"it knows nothing of {_CANARY}, which has CVE-2025-27516")


def audited(lock: str, options: Sequence[str]) -> list[Finding]:
    """What is known of every entry of the lock; raises Hep2ganError unless all were answered."""
    check_service(options)
    # The lock has some packages in two versions, for two Pythons; pip-audit takes one at a time.
    rounds: list[list[str]] = []
    seen: Counter[str] = Counter()
    for name, version, hashes in entries(lock):
        if seen[name] == len(rounds):
            rounds.append([])
        rounds[seen[name]].append(f"{name}=={version} \\\n{hashes}")
        seen[name] += 1
    found = [f for part in rounds for f in found_by_service("".join(part), options)]
    asked = {(f["name"], f["version"]) for f in found if "vulns" in f}
    silent = [f"{n} {v}" for n, v, _ in entries(lock) if (n, v) not in asked]
    if silent:
        raise unanswered(f"{len(silent)} of {seen.total()} packages\n{bullet_list(silent)}\n")
    return found


def mended(vuln: Finding) -> str:
    """In which releases, if any."""
    return f"mended in {', '.join(vuln['fix_versions'])}" if vuln["fix_versions"] else "not mended"


def main() -> None:
    """Print what is known, and exit with the status that says how it stands."""
    lock = Path(sys.argv[1]).read_text(encoding="utf-8")
    try:
        found = audited(lock, sys.argv[2:])
    except Hep2ganError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    known = [
        f"{f['name']} {f['version']}: {vuln['id']}, {mended(vuln)}"
        for f in found
        for vuln in f["vulns"]
    ]
    print(f"{len(found)} locked packages, {len(known)} known vulnerabilities")
    if known:
        print(bullet_list(known, limit=len(known)))
    sys.exit(1 if known else 0)


if __name__ == "__main__":
    main()
