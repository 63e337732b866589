"""Docstrings of what one package uses of another: each parameter is explained under Args."""

import ast
import re
from itertools import pairwise
from pathlib import Path

import hep2gan

ROOT = Path(hep2gan.__file__).parent
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in ROOT.rglob("*.py")}


def module_of(path):
    return ".".join(("hep2gan", *path.relative_to(ROOT).with_suffix("").parts))


def package_of(module):
    return module.split(".")[1]


def used_by_other_packages():
    """(module, name) of every function and class that another package imports."""
    return {
        (node.module, alias.name)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hep2gan.")
        for alias in node.names
        if package_of(node.module) != package_of(module_of(path))
    }


def parameters(node):
    """Those of a function or of a constructor; the fields of a class that has none."""
    if isinstance(node, ast.ClassDef):
        for each in node.body:
            if isinstance(each, ast.FunctionDef) and each.name == "__init__":
                return parameters(each)
        return [
            each.target.id
            for each in node.body
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
            if not ast.unparse(each.annotation).startswith("ClassVar")
        ]
    arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
    return [each.arg for each in arguments if each.arg not in ("self", "cls")]


def explained(node):
    """Names that the sections Args and Attributes explain, and fields with a text below them."""
    text = ast.get_docstring(node) or ""
    sections = re.findall(r"^(?:Args|Attributes):\n((?:[ \t]+.*\n?|\n)+)", text + "\n", re.M)
    names = {name for section in sections for name in re.findall(r"^ {4}(\w+):", section, re.M)}
    body = node.body if isinstance(node, ast.ClassDef) else []
    for field, below in pairwise(body):
        is_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_text:
            names.add(field.target.id)
    return names


def test_every_parameter_that_another_package_gives_is_explained():
    wanted = used_by_other_packages()
    assert len(wanted) > 100
    missing = [
        f"{module_of(path)}.{node.name}: {name}"
        for path, tree in TREES.items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        if (module_of(path), node.name) in wanted
        for name in parameters(node)
        if name not in explained(node)
    ]
    assert missing == []


def test_every_public_function_begins_with_a_sentence():
    bare = [
        f"{module_of(path)}.{node.name}"
        for path, tree in TREES.items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        if not re.match(r"\S.*\.", (ast.get_docstring(node) or "").partition("\n\n")[0], re.S)
    ]
    assert bare == []
