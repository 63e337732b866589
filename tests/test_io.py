import os

import pytest

from hep2gan.io import read_json, read_safe_yaml


def written(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[1]", "holds no names and values"),
        (b'{"a": ', "Expecting value"),
        (b'{"a": "\xff"}', "utf-8"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b" " * (16 * 1024 * 1024) + b"{}", r"16,777,218 bytes, at most 16,777,216"),
    ],
)
def test_json_that_is_refused(tmp_path, content, reason):
    with pytest.raises(ValueError, match=rf"a\.json.*{reason}"):
        read_json(written(tmp_path / "a.json", content))


def test_json_comes_back(tmp_path):
    found = read_json(written(tmp_path / "a.json", '{"ü": [1, 2.5, null]}'.encode()))
    assert found == {"ü": [1, 2.5, None]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a: 1\nb: &x 2\n", "line 2: an anchor or alias 'x'"),
        (b"a: !!str 1", "line 1: a type of its own"),
        (b"a:\n- ${b}", r"line 2: an interpolation, '\$\{b\}'"),
        (b"a: " + b"[" * 33 + b"]" * 33, "more than 32 levels"),
        (b"a: [", "damaged"),
        (b"a: \xff", "damaged"),
        (b"#" * 65_537, "65,537 bytes"),
    ],
)
def test_yaml_that_is_refused(tmp_path, content, reason):
    with pytest.raises(ValueError, match=rf"a\.yaml.*{reason}"):
        read_safe_yaml(written(tmp_path / "a.yaml", content))


def test_yaml_comes_back_as_it_is(tmp_path):
    text = "a: {b: [1, 'x']}\nc: ü\n"
    assert read_safe_yaml(written(tmp_path / "a.yaml", text.encode())) == text


def test_missing_files_and_pipes(tmp_path):
    os.mkfifo(tmp_path / "p")
    for read in (read_json, read_safe_yaml):
        with pytest.raises(ValueError, match="none: No such file"):
            read(tmp_path / "none")
        with pytest.raises(ValueError, match="no ordinary file"):
            read(tmp_path / "p")
