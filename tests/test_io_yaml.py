"""Configurations as text: the same as OmegaConf's, which composed them."""

import pytest
from omegaconf import OmegaConf

from hep2gan.io import parse_yaml, to_yaml
from tests.helpers.configs import composed

AWKWARD = {
    "text": ["1e-3", "1", "-.5", "1_000", "nan", "inf", "yes", "No", "y", "N", "on", "null",
             "~", ""],
    "more text": ["2026-01-01", "12:30", "0x1f", "a: b", "# x", " x ",
                  "two\nlines", "ü\t", "'", "<<", "="],
    "numbers": [1e-05, 1e22, 0.1 + 0.2, -0.0, 10**20, float("inf"), True, False, None],
    "nested": {"a": [[1, [2]], {"b": []}], "c": {}, "d": [{"e": 1, "f": None}]},
    "long": "word " * 60,
}  # fmt: skip


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("data=phantom", "scale=laptop", "method=vgg16"),
        ("data=phantom", "split.folds=3", "trainer=ddp", "optimizer.generator.lr=1e-05"),
    ],
)
def test_the_text_of_a_configuration_is_omegaconfs(overrides):
    config = composed("train", *overrides)
    assert to_yaml(config) == OmegaConf.to_yaml(OmegaConf.create(config))
    assert parse_yaml(to_yaml(config)) == config


def test_awkward_values_come_back_with_their_types():
    text = to_yaml(AWKWARD)
    assert text == OmegaConf.to_yaml(OmegaConf.create(AWKWARD))
    assert repr(parse_yaml(text)) == repr(AWKWARD)


@pytest.mark.parametrize(
    "text", ["1e-05", "1E5", "-1.5e3", "+2e1", "1.5e-3", "3", "1_0", "0.5", ".5"]
)
def test_numbers_written_by_hand_are_read_as_omegaconf_reads_them(text):
    (ours,) = parse_yaml(f"a: {text}").values()
    theirs = OmegaConf.create(f"a: {text}").a
    assert (type(ours), ours) == (type(theirs), theirs)


def test_shared_lists_are_written_out():
    shared = [1]
    assert to_yaml({"a": shared, "b": shared}) == "a:\n- 1\nb:\n- 1\n"


@pytest.mark.parametrize(
    "text", ["a: 1\na: 2", "- a", "a", "", "? [a]\n: 1", "a: [", "!!python/name:os.system"]
)
def test_what_is_no_configuration(text):
    with pytest.raises(ValueError):  # noqa: PT011
        parse_yaml(text)
