"""``dlas sensitivity`` on a study that was run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

STUDY = """
name = "precision"
[base]
dataset = { name = "synthetic", shape = [3, 8, 8], train = 32, calibration = 16, test = 16 }
model = "tiny"
optimizations = [{ name = "int8", samples = 8 }]
system = "reference"
hardware = "null"
"""


def test_every_layer_is_told(
    dlas: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    study, figures = tmp_path / "study.toml", tmp_path / "losses.json"
    study.write_text(STUDY)
    told = dlas("sensitivity", study)
    assert told.returncode == 2
    assert "is not in the store: run the study (dlas run)" in told.stderr
    ran = dlas("run", study)
    assert ran.returncode == 0, ran.stderr
    told = dlas("sensitivity", study, "--samples", "16", "--json", figures)
    assert told.returncode == 0, told.stderr
    rows = json.loads(figures.read_text())
    assert [row["layer"] for row in rows] == ["conv", "fc"]
    for row in rows:
        assert row["layer"] in told.stdout
        assert row["loss_nats"]["int8"] > row["loss_nats"]["bfloat16"] > 0
    told = dlas("sensitivity", study, "--samples", "17")
    assert told.returncode == 2
    assert "measured on 17 images and the data set has 16" in told.stderr
