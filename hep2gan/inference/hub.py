"""Exports at the hub of Hugging Face: push one, and download one by its name.

A token comes from where `hf auth login` and HF_TOKEN leave it, and from nowhere else.
"""

import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    constants,
    get_token,
    snapshot_download,
)
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.errors import HTTPError as ConnectionProblem  # type: ignore[attr-defined]
from huggingface_hub.utils.tqdm import disable_progress_bars

from hep2gan.errors import Hep2ganError
from hep2gan.inference.exported import (
    CARD,
    DESCRIPTION,
    HUB,
    WEIGHTS,
    Export,
    open_export,
    read_description,
)

_NAME = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>(?!.*\.\.)[\w./-]+))?")
_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
_TIMEOUT = 10.0
"""Seconds that the hub may take for its first answer."""
log = logging.getLogger(__name__)
# They tell of each request.
for _library in ("httpx", "httpx2"):
    logging.getLogger(_library).setLevel(logging.WARNING)


class HubName(NamedTuple):
    """Where an export lies.

    Attributes:
        repository: USER/NAME.
        revision: A branch, tag or commit; None for the latest.
    """

    repository: str
    revision: str | None

    def __str__(self) -> str:
        return f"{HUB}{self.repository}@{self.revision}"


def parse_hub_name(name: str) -> HubName:
    """Read hf://USER/NAME or hf://USER/NAME@REVISION.

    Args:
        name: The name.

    Returns:
        Its parts.

    Raises:
        Hep2ganError: It is none.
    """
    found = _NAME.fullmatch(name.removeprefix(HUB))
    if found is None or not name.startswith(HUB):
        raise _no_name(name, "USER and NAME are letters, digits and . _ -")
    return HubName(found["repository"], found["revision"])


def _no_name(name: str, reason: object) -> Hep2ganError:
    return Hep2ganError(
        f"{name} names no model of the hub ({reason})",
        "a name is hf://USER/NAME, or hf://USER/NAME@REVISION",
        "copy USER/NAME from the model's page",
    )


# ---------------------------------------------------------------- push


def check_push(repository: str) -> None:
    """Check what can be known before an export is made: the name, the token, the way there.

    Args:
        repository: USER/NAME.

    Raises:
        Hep2ganError: The name is none, there is no token, or the hub does not answer or know it.
    """
    place = parse_hub_name(HUB + repository)
    if place.revision:
        raise Hep2ganError(
            f"push_to_hub is {repository}", "a push makes a revision of its own", "leave @… out"
        )
    if not get_token():
        raise Hep2ganError(
            "there is no token for the hub", "only its owner writes into USER/NAME", _LOG_IN
        )
    with _explain(place):
        HfApi().whoami()


class Pushed(NamedTuple):
    """What a push has made.

    Attributes:
        address: hf://USER/NAME@COMMIT.
        private: Whether only those may see it whom its owner lets.
    """

    address: str
    private: bool

    def __str__(self) -> str:
        return f"{self.address}, {'private' if self.private else 'public'}"


def push_export(folder: Path, repository: str, *, private: bool, message: str) -> Pushed:
    """Push an export as one commit: its weights, its description and its card, nothing else.

    Args:
        folder: The export.
        repository: USER/NAME, created if it does not exist.
        private: Whether only its owner may see it; a repository that exists keeps what it is.
        message: Of the commit.

    Returns:
        Where it lies.

    Raises:
        Hep2ganError: The repository is public and `private` is true, or the hub refuses.
    """
    export, place, api = open_export(folder), parse_hub_name(HUB + repository), HfApi()
    _quiet_unless_terminal()
    with _explain(place):
        try:
            info = api.model_info(repository, timeout=_TIMEOUT)
        except GatedRepoError:
            raise
        except RepositoryNotFoundError:
            api.create_repo(repository, private=private)
            info = api.model_info(repository, timeout=_TIMEOUT)
        if private and not info.private:
            raise Hep2ganError(
                f"{repository} is public, and private is true",
                "what is pushed there can be downloaded by anybody",
                "set private=false, or push to another name",
            )
        there = {file.rfilename for file in info.siblings or ()}
        names = (export.weights.name, DESCRIPTION, CARD)
        stale = there & set(WEIGHTS.values()) - {export.weights.name}
        commit = api.create_commit(
            repository,
            [
                *(CommitOperationAdd(name, folder / name) for name in names),
                *(CommitOperationDelete(name) for name in sorted(stale)),
            ],
            commit_message=message,
        )
    return Pushed(f"{HUB}{repository}@{commit.oid}", bool(info.private))


# ---------------------------------------------------------------- fetch


def fetch_export(name: str) -> Export:
    """Download description and weights of an export, and nothing else, into the hub's cache.

    Where the hub cannot be reached, a revision in the cache is used, with a warning.

    Args:
        name: hf://USER/NAME or hf://USER/NAME@REVISION.

    Returns:
        The export, checked; its `origin` names the commit.

    Raises:
        Hep2ganError: There is no such export, it may not be read, it is damaged, or the hub cannot
            be reached and the cache has none.
    """
    place = parse_hub_name(name)
    _quiet_unless_terminal()
    with _explain(place):
        reason = _why_unreachable(place)
        folder = _download(place, [DESCRIPTION], reason)
        # From here on that commit, whatever is pushed meanwhile.
        place = HubName(place.repository, folder.name)
        if reason:
            log.warning("the hub is not reached (%s): %s is taken from the cache", reason, place)
        try:
            return _open_commit(place, reason)
        except Hep2ganError:
            if reason:
                raise
        # The copy in the cache may be what is damaged.
        return _open_commit(place, again=True)


def _open_commit(place: HubName, reason: str = "", *, again: bool = False) -> Export:
    folder = _download(place, [DESCRIPTION], reason, again=again)
    if not (folder / DESCRIPTION).is_file():
        raise Hep2ganError(
            f"{place} is no model of hep2gan",
            f"it lacks {DESCRIPTION}",
            "name a model that hep2gan-export has pushed",
        )
    weights = read_description(folder, str(place)).weights.name
    _download(place, [weights], reason, again=again)
    return open_export(folder, str(place))


def _quiet_unless_terminal() -> None:
    """Show progress in a terminal alone, where its lines overwrite each other."""
    if not sys.stderr.isatty():
        disable_progress_bars()


def _why_unreachable(place: HubName) -> str:
    """Ask the hub for a revision; return why it does not answer, '' if it does."""
    try:
        HfApi().model_info(place.repository, revision=place.revision, timeout=_TIMEOUT)
    except OfflineModeIsEnabled:
        return "HF_HUB_OFFLINE is set"
    except HfHubHTTPError as error:
        if error.response.status_code < 500:
            raise
        return f"it answers {error.response.status_code}"
    except (ConnectionProblem, OSError) as error:
        return f"{constants.ENDPOINT}: {error}"
    return ""


def _download(place: HubName, files: Sequence[str], reason: str, *, again: bool = False) -> Path:
    try:
        folder = snapshot_download(
            place.repository,
            revision=place.revision,
            allow_patterns=list(files),
            local_files_only=bool(reason),
            force_download=again,
        )
    except LocalEntryNotFoundError as error:
        if not reason:
            raise Hep2ganError(
                f"{', '.join(files)} of {HUB}{place.repository} cannot be downloaded ({error})",
                "",
                "give the same command again",
            ) from error
        raise Hep2ganError(
            f"{HUB}{place.repository} is not in the cache, and the hub is not reached ({reason})",
            "a model is downloaded once, and then read from the cache",
            "connect this machine once, HF_HUB_OFFLINE not set, or copy an export's folder here and"
            " name that",
        ) from error
    return Path(folder)


@contextmanager
def _explain(place: HubName) -> Iterator[None]:
    """Turn the hub's refusals into words.

    Raises:
        Hep2ganError: For each that a user can do something about.
    """
    name, page = place.repository, f"{constants.ENDPOINT}/{place.repository}"
    try:
        yield
    except HFValidationError as error:
        raise _no_name(HUB + name, error) from error
    except GatedRepoError as error:
        raise Hep2ganError(
            f"{name} is gated", "its owner lets in who asks", f"ask for access on {page}"
        ) from error
    except RepositoryNotFoundError as error:
        raise Hep2ganError(
            f"the hub shows no model {name}",
            "it does not exist, or it is private and this machine has no token that may read it",
            f"check the name; of a private one, {_LOG_IN}",
        ) from error
    except RevisionNotFoundError as error:
        raise Hep2ganError(
            f"{name} has no revision {place.revision}",
            "a revision is a branch, a tag or a commit",
            f"leave @{place.revision} out for the latest, or see {page}/commits/main",
        ) from error
    except HfHubHTTPError as error:
        raise _refusal(name, error.response.status_code) from error
    except (ConnectionProblem, OfflineModeIsEnabled) as error:
        raise Hep2ganError(
            f"the hub is not reached ({error})",
            f"it is looked for at {constants.ENDPOINT}",
            "connect this machine, HF_HUB_OFFLINE not set, and give the same command again",
        ) from error


def _refusal(name: str, status: int) -> Hep2ganError:
    if status in (401, 403):
        return Hep2ganError(
            f"the hub refuses {name} to this machine's token (status {status})",
            "reading a private model and writing need a token with that right",
            f"make one on {constants.ENDPOINT}/settings/tokens and {_LOG_IN}",
        )
    return Hep2ganError(
        f"the hub answers {status} for {name}", "", "give the same command again later"
    )
