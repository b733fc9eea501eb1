"""Keys: equal choices in equal context are equal, whatever else differs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlas.content import digest
from dlas.errors import InputError
from dlas.node import Node, canonical, tree
from dlas.stack import Stack

BASE = {"dataset": "synthetic", "model": "tiny", "system": "onnxruntime", "hardware": "null"}
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), PLAIN))
def test_canonical_form_does_not_depend_on_order(value: dict[str, object]) -> None:
    assert canonical(value) == canonical(dict(reversed(value.items())))


def node(**change: object) -> Node:
    fields = {
        "layer": "models",
        "spec": {"name": "tiny"},
        "content": {},
        "tools": {},
        "parent": "p",
    }
    return Node(**{**fields, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"layer": "systems"},
        {"spec": {"name": "tiny", "seed": 1}},
        {"content": {"weights": "sha"}},
        {"tools": {"torch": "2"}},
        {"parent": "q"},
    ],
)
def test_everything_enters_the_key(change: dict[str, object]) -> None:
    assert node(**change).key != node().key


def test_content_stands_in_place_of_the_path() -> None:
    here = node(spec={"name": "onnx", "path": "/a/n.onnx"}, content={"path": "sha"})
    there = node(spec={"name": "onnx", "path": "/b/n.onnx"}, content={"path": "sha"})
    assert here.key == there.key


def test_stacks_share_prefixes() -> None:
    plain = Stack.parse(BASE).chain()
    pruned = Stack.parse({**BASE, "optimizations": [{"weight_pruning": 0.5}]}).chain()
    both = Stack.parse({**BASE, "optimizations": [{"weight_pruning": 0.5}, "int8"]}).chain()
    assert [n.key for n in plain[:2]] == [n.key for n in pruned[:2]] == [n.key for n in both[:2]]
    assert pruned[2].key == both[2].key
    assert len(tree([plain, pruned, both])) == 2 + 3 + 4 + 4


def test_a_default_written_out_is_the_same_choice() -> None:
    written = {
        "name": "tiny",
        **{k: v for k, v in Stack.parse(BASE).model.spec().items() if k != "name"},
    }
    assert Stack.parse({**BASE, "model": written}).chain() == Stack.parse(BASE).chain()


def test_digest_follows_content(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("same")
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert digest(tmp_path / "a" / "x") == digest(tmp_path / "b" / "x")
    (tmp_path / "b" / "x").write_text("else")
    os.utime(tmp_path / "b" / "x", ns=(1, 1))
    assert digest(tmp_path / "a") != digest(tmp_path / "b")
    with pytest.raises(InputError, match="there is no such file"):
        digest(tmp_path / "nowhere")
