"""Can pretrained weights be had: from the local cache, or from the Hugging Face hub?"""

import timm
from huggingface_hub import constants, get_session, try_to_load_from_cache

from hep2gan.errors import Hep2ganError

FILES = ("model.safetensors", "pytorch_model.bin")
"""Names under which timm and segmentation_models_pytorch look for weights."""


def require_hub(repository: str, revision: str | None, fix: str, files: tuple[str, ...]) -> None:
    """Raise Hep2ganError at once, rather than after a minute of retries, when the hub is away.

    One HEAD request is sent, and only when none of `files` is in the cache. Honours `HF_ENDPOINT`,
    `HF_HUB_OFFLINE` and proxies.
    """
    if any(
        isinstance(try_to_load_from_cache(repository, f, revision=revision), str) for f in files
    ):
        return
    try:
        get_session().head(constants.ENDPOINT, timeout=5.0)
    except Exception as error:  # requests, httpx and offline mode have no common root
        raise Hep2ganError(
            f"pretrained weights {repository} are not in the cache",
            f"they cannot be downloaded from {constants.ENDPOINT} either ({error})",
            fix,
        ) from error


def require_timm_weights(model: str, fix: str) -> None:
    """Raise Hep2ganError unless the weights of a timm model can be had."""
    config = timm.get_pretrained_cfg(model)
    if config is None or not config.has_weights:
        raise Hep2ganError(f"{model} has no pretrained weights", "timm publishes none", fix)
    # Weights that live elsewhere than on the hub fail without retries.
    if config.hf_hub_id:
        repository, _, revision = config.hf_hub_id.partition("@")
        files = (config.hf_hub_filename,) if config.hf_hub_filename else FILES
        require_hub(repository, revision or None, fix, files)
