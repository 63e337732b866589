"""A hub that cannot be reached, whether or not this machine has a network."""

import pytest


@pytest.fixture
def unreachable_hub(monkeypatch, tmp_path):
    """Point the hub at a closed port of this machine and at an empty cache."""
    from huggingface_hub import constants

    from hep2gan.models import pretrained

    closed = "http://127.0.0.1:9"
    monkeypatch.setattr(constants, "ENDPOINT", closed)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    real = pretrained.try_to_load_from_cache
    in_empty_cache = lambda *a, **k: real(*a, **k, cache_dir=tmp_path)  # noqa: E731
    monkeypatch.setattr(pretrained, "try_to_load_from_cache", in_empty_cache)
    for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(proxy, raising=False)
    return closed
