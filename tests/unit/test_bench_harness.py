"""The study of ``dlas bench harness`` is a part of the demo."""

from __future__ import annotations

import tomllib
from pathlib import Path

from dlas.bench.harness import study
from dlas.study.space import Study

DEMO = Path(__file__).parents[2] / "studies" / "demo.toml"


def test_its_stacks_are_stacks_of_the_demo() -> None:
    table = tomllib.loads(DEMO.read_text())
    budget_s = table["base"]["hardware"]["protocol"]["time_budget_s"]
    ours = {stack.chain()[-1].key for stack in study(budget_s).stacks}
    demo = {stack.chain()[-1].key for stack in Study.parse(table).stacks}
    assert len(ours) == len(demo) / 3
    assert ours <= demo
