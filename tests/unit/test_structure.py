"""The shape of the code: who may import whom, how large a file may be, what starting costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from dlas.layer import LAYERS

ROOT = Path(__file__).parents[2] / "src" / "dlas"
FILES = sorted(ROOT.rglob("*.py"))
LONGEST = 400

#: Lower ranks may not import higher ones. The six layers share a rank, but none imports another.
RANKS = (
    ("errors", "node"),
    ("layer", "content", "places", "npz", "spec", "context", "target"),
    (
        "images", "data", "network", "plan", "choices", "assignment", "executable", "stack",
        "training", "evaluate", "tuning",
    ),
    ("measure.protocol", "measure.statistics"),
    LAYERS,
    ("measure", "store"),
    ("study", "search", "bench"),
    ("analysis", "report"),
    ("api",),
    ("cli", "testing"),
)  # fmt: skip
#: Types of the layers that an upper file names to be read, never to be called.
ALLOWED = {("executable", "systems"), ("network", "data")}


def modules_of(path: Path) -> list[str]:
    """The dlas modules a file imports when it is imported itself, as dotted names below dlas."""
    found = []
    tree = ast.parse(path.read_text())
    guarded = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if node in guarded:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dlas."):
            found.append(node.module.removeprefix("dlas."))
        elif isinstance(node, ast.Import):
            found += [
                a.name.removeprefix("dlas.") for a in node.names if a.name.startswith("dlas.")
            ]
    return found


def place(module: str) -> tuple[int, str]:
    """(rank, the name that has it); the longest match counts."""
    matches = [
        (len(name), rank, name)
        for rank, names in enumerate(RANKS)
        for name in names
        if module == name or module.startswith(name + ".")
    ]
    assert matches, f"dlas.{module} has no place in the order of imports"
    _, rank, name = max(matches)
    return rank, name


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    own = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    if own in ("", "__init__"):
        return  # the package itself imports lazily, by name
    rank, name = place(own)
    for other in modules_of(path):
        other_rank, other_name = place(other)
        if (name, other_name) in ALLOWED or name == other_name:
            continue
        assert other_rank <= rank, f"dlas.{own} may not import dlas.{other}"
        if name in LAYERS:
            assert other_name not in LAYERS, f"layer {name} may not import layer {other_name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_is_one_idea(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= LONGEST, f"{lines} lines; split what is more than one idea"


def test_help_imports_nothing_heavy() -> None:
    heavy = "torch tvm onnxruntime openvino onnx numpy pandas sqlalchemy sklearn"
    code = (
        "import sys; from dlas.cli.main import app\n"
        f"print([m for m in {heavy.split()!r} if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_importing_every_member_imports_nothing_heavy() -> None:
    code = """
import sys
from dlas.layer import LAYERS, member, table
for layer in LAYERS:
    for name in table(layer):
        assert member(layer, name).name == name, name
print([m for m in ("torch", "tvm", "onnxruntime", "openvino", "pandas", "sklearn", "PIL", "scipy")
       if m in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stdout.strip() == "[]", ran.stderr
