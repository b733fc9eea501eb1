"""``dlas bench tuning`` on a tiny network: rows of each kind, their file, their tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dlas.bench import cases
from dlas.cli.main import app

pytest.importorskip("tvm")

METHODS = ["template", "model", "transfer", "random"]
TINY = {"tiny": ({"name": "tiny"}, cases.CIFAR)}


def test_a_tiny_network_has_rows_of_each_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases, "NETWORKS", TINY)
    monkeypatch.setenv("DLAS_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out.json"
    ran = CliRunner().invoke(
        app, ["bench", "tuning", "--networks", "tiny", "--most", "3", "--auto-layers", "1",
              "--auto-trials", "2", "--time-budget", "0.1", "--json", str(out)],
        catch_exceptions=False,
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    rows = json.loads(out.read_text())
    layers, autos, networks = (
        [row for row in rows if row["row"] == kind] for kind in ("layer", "auto", "network")
    )
    assert len(layers) + len(autos) + len(networks) == len(rows)
    for row in layers:
        assert row["networks"] == ["tiny"]
        assert row["tried"] == min(3, row["candidates"])
        assert list(row["quality"]) == METHODS
        for by_trials in row["quality"].values():
            values = [by_trials[number] for number in sorted(by_trials, key=int)]
            assert values == sorted(values)
            assert values[-1] == pytest.approx(1)
    [auto] = autos
    assert auto["layer"] in {row["layer"] for row in layers}
    assert auto["trials"] == 2
    assert auto["wall_s"] > 0
    by_algorithm = {row["algorithm"]: row for row in networks}
    assert {"cheapest", "best", "direct", "gemm", "winograd4"} <= set(by_algorithm)
    assert by_algorithm["best"]["over_best"] == 1
    assert by_algorithm["best"]["predicted_s"] > 0
    assert all(row["median_s"] > 0 and row["compile_s"] > 0 for row in networks)
    for heading in ("best time / time found", "MetaSchedule, 2 trials", "all networks"):
        assert heading in ran.output
    assert not (tmp_path / "cache").exists()
