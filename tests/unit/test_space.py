"""Studies: alternatives multiply, what cannot exist is dropped and said, mistakes are located."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dlas.errors import DlasError
from dlas.study.space import Study

BASE: dict[str, Any] = {"dataset": "synthetic", "model": "tiny", "hardware": "null"}


def study(**change: Any) -> Study:
    return Study(**{"name": "s", "base": BASE, "axes": {"system": ["onnxruntime"]}, **change})


def test_axes_multiply_and_impossible_pairs_are_dropped() -> None:
    made = study(
        axes={
            "optimizations": [[], ["int8"], [{"weight_pruning": 0.5}, "int8"]],
            "algorithm": ["vendor", "direct"],
            "system": ["onnxruntime", "tvm"],
        }
    )
    assert [s.labels()["optimizations"] for s in made.stacks[::2]] == [
        "none",
        "int8",
        "weight_pruning(0.5) + int8",
    ]
    assert {(s.algorithm.name, s.system.name) for s in made.stacks} == {
        ("vendor", "onnxruntime"),
        ("direct", "tvm"),
    }
    assert made.dropped == {
        "onnxruntime chooses its own kernels: algorithm = 'vendor'": 3,
        "tvm follows direct, gemm, spatial_pack, grouped_spatial_pack, depthwise, winograd, "
        "winograd4, cheapest, best, planned, not 'vendor'": 3,
    }


def test_grids_are_joined_and_replace_what_the_study_says() -> None:
    made = study(
        axes={"optimizations": [[], ["int8"]], "system": ["onnxruntime"]},
        grids=[
            {},
            {"base": {"optimizations": []}, "axes": {"system": ["onnxruntime", "pytorch"]}},
            {"base": {"system": "tvm"}, "axes": {"algorithm": ["direct", "gemm"]}},
        ],
    )
    found = [
        (labels["optimizations"], labels["algorithm"], labels["system"])
        for labels in (made.labels(stack) for stack in made.stacks)
    ]
    assert found == [
        ("none", "vendor", "onnxruntime"),
        ("int8", "vendor", "onnxruntime"),
        ("none", "vendor", "pytorch"),
        ("none", "direct", "tvm"),
        ("none", "gemm", "tvm"),
        ("int8", "direct", "tvm"),
        ("int8", "gemm", "tvm"),
    ]


@pytest.mark.parametrize(
    ("grids", "sentence"),
    [
        ([3], "$.grids[0]: 3 is not a table of base and axes"),
        ([{"axis": {}}], "$.grids[0].axis: not a field of a grid; did you mean 'axes'?"),
        ([{"axes": {"sistem": ["tvm"]}}], "$.grids[0].axes.sistem: not a field of a stack"),
        ([{"base": {"system": "tvn"}}], "$.grids[0].base.system"),
        ([{}, {"axes": {"system": "tvm"}}], "$.grids[1].axes.system: 'tvm' is not a list"),
        ([{"base": {"system": "tvm"}, "axes": {"system": ["tvm"]}}], "stands in base too"),
    ],
)
def test_mistakes_in_grids_are_located(grids: Any, sentence: str) -> None:
    with pytest.raises(DlasError) as raised:
        study(grids=grids)
    assert sentence in str(raised.value)


def test_the_same_stack_twice_counts_once() -> None:
    assert (
        len(study(axes={"system": ["onnxruntime", {"name": "onnxruntime", "threads": 1}]}).stacks)
        == 1
    )


@pytest.mark.parametrize(
    "change, message",
    [
        ({"name": "a/b"}, "$.name: 'a/b' is not a name of letters"),
        ({"axes": {}}, "$.base.system: a study needs this field, here or in axes"),
        ({"axes": {"system": []}}, "$.axes.system: an empty list leaves no stack"),
        ({"axes": {"system": "tvm"}}, "$.axes.system: 'tvm' is not a list of alternatives"),
        (
            {"axes": {"sistem": ["tvm"]}},
            "$.axes.sistem: not a field of a stack; did you mean 'system'?",
        ),
        (
            {"axes": {"system": ["tvn"]}},
            "$.axes.system[0]: 'tvn' is not one of the systems; did you mean 'tvm'?",
        ),
        ({"axes": {"system": ["tvm"], "model": ["tiny"]}}, "$.axes.model: stands in base too"),
        (
            {"axes": {"system": ["tvm"], "algorithm": ["vendor"]}},
            "$.axes: no combination of these choices can exist: tvm follows",
        ),
        (
            {"axes": {"system": ["tvm"], "optimizations": [{"name": "int8"}]}},
            "$.axes.optimizations[0]: each alternative is a list of optimizations",
        ),
        (
            {"axes": {"system": ["onnxruntime"], "optimizations": [[{"weight_pruning": 1.2}]]}},
            "$.axes.optimizations[0][0].sparsity: 1.2 is not in [0, 1)",
        ),
    ],
)
def test_mistakes(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DlasError) as caught:
        study(**change)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "text, message",
    [
        ("name = ", "is not TOML"),
        ("title = 'x'", "$.name: a study needs this field"),
        ("name = 3", "$.name: 3 is not a text"),
        ("name = 's'\nbase = 3", "$.base: 3 is not a table"),
        ("name = 's'\naxis = 3", "$.axis: not a field of a study; did you mean 'axes'?"),
        (
            "name = 's'\n[base]\ndataset = 'digit'",
            "$.base.dataset: 'digit' is not one of the datasets",
        ),
    ],
)
def test_mistakes_in_a_file_name_the_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(DlasError) as caught:
        Study.open(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_no_file_and_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(DlasError, match="there is no such file"):
        Study.open(tmp_path / "none.toml")
    with pytest.raises(DlasError, match="is a folder"):
        Study.open(tmp_path)
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DlasError, match="is not a text file"):
        Study.open(tmp_path / "b.toml")


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "studies").glob("*.toml")), ids=lambda p: p.stem
)
def test_the_shipped_studies_are_valid(path: Path) -> None:
    made = Study.open(path)
    assert made.name == path.stem
    assert len({s.label() for s in made.stacks}) == len(made.stacks)


def test_the_demo_spans_what_it_says() -> None:
    made = Study.open(Path(__file__).parents[2] / "studies" / "demo.toml")
    count = {
        field: len({s.labels()[field] for s in made.stacks}) for field in ("model", "optimizations")
    }
    systems = {(s.system.name, s.algorithm.name) for s in made.stacks}
    assert (count["model"], count["optimizations"], len(systems)) == (3, 7, 5)
    assert len(made.stacks) == 105


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for folder in ("v1", "v2"):
        (tmp_path / folder).mkdir()
    models = [{"onnx": str(tmp_path / folder / "net.onnx")} for folder in ("v1", "v2")]
    made = Study(
        name="s",
        base={key: value for key, value in BASE.items() if key != "model"},
        axes={"model": models, "system": ["onnxruntime"]},
    )
    labels = [made.labels(stack)["model"] for stack in made.stacks]
    assert labels == ["onnx(net.onnx)", "onnx(net.onnx) #2"]
