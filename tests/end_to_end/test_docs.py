"""Examples in the docs are files that run."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import dlas

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_readme_shows_the_example_as_it_is() -> None:
    shown = re.search(r"<!-- example: (\S+) -->\n```python\n(.*?)```", README, re.S)
    assert shown is not None
    assert shown[2] == (ROOT / shown[1]).read_text()


def test_the_example_runs(tmp_path: Path) -> None:
    example = ROOT / "docs" / "examples" / "demo.py"
    ran = subprocess.run(
        [sys.executable, str(example)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert Path(ran.stdout.splitlines()[-1]).exists()


def test_the_readmes_study_is_valid(tmp_path: Path) -> None:
    text = re.search(r"```toml\n(.*?)```", README, re.S)
    assert text is not None
    study = dlas.Study.parse(tomllib.loads(text[1]), tmp_path)
    assert len(study.stacks) == 3 * 5


def test_the_readme_lists_every_member_and_verb() -> None:
    from dlas.cli.main import app
    from dlas.layer import LAYERS, table

    for layer in LAYERS:
        for name in set(table(layer)) - {"null"}:
            assert f"`{name}`" in README, f"{name} of {layer} is not in the README"
    for command in app.registered_commands:
        name = command.name or command.callback.__name__  # type: ignore[union-attr]
        assert f"`dlas {name}" in README, f"dlas {name} is not in the README"
    for group in app.registered_groups:
        inner = group.typer_instance
        rows = [row for row in README.splitlines() if f"`dlas {inner.info.name} " in row]  # type: ignore[union-attr]
        for command in inner.registered_commands:  # type: ignore[union-attr]
            name = command.name or command.callback.__name__  # type: ignore[union-attr]
            assert re.search(rf"[` ]{name}`", "\n".join(rows)), f"{name} is not in the README"


@pytest.mark.parametrize(
    "path", [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")], ids=lambda p: p.name
)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"
