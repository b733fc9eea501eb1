"""The report's table of precisions."""

from __future__ import annotations

import pandas as pd

from dlas.report.page import render
from dlas.report.precisions import precision_tables
from dlas.report.rows import ready
from dlas.testing.results import made_up_info, made_up_results


def one_model() -> pd.DataFrame:
    frame = made_up_results()
    return frame[frame["model"] == "resnet(8)"]


def test_every_engine_has_a_cell_for_each_precision() -> None:
    [table] = precision_tables(ready(one_model()))
    assert table["columns"] == {"none": "float32", "float16": "float16", "int8": "int8"}
    assert len(table["engines"]) == 5
    assert len(table["cells"]) == 15
    frame = one_model().set_index(["system", "algorithm", "optimizations"])
    row, cell = frame.loc["onnxruntime", "vendor", "int8"], table["cells"]["onnxruntime", "int8"]
    assert cell["latency"] == f"{1e3 * row['latency_s']:.3f}\N{NO-BREAK SPACE}ms"
    assert cell["speedup"] == f"{row['measured_speedup']:.2f}×"
    assert cell["output_agreement"]
    plain = table["cells"]["onnxruntime", "none"]
    assert (plain["speedup"], plain["output_agreement"]) == ("", "")
    refused = table["cells"]["tvm · gemm", "float16"]
    assert refused["word"] == "refused"
    assert "no float16 form" in refused["why"]
    emulated = table["cells"]["tvm · direct", "float16"]
    assert emulated["why"] == "float16 is computed in float32 on this CPU"


def test_networks_in_one_precision_have_no_table() -> None:
    frame = one_model()
    plain = frame[frame["precision"] == "float32"]
    assert precision_tables(ready(plain)) == []
    assert 'id="precisions"' not in render(plain, made_up_info())
    assert precision_tables(ready(frame.iloc[:0])) == []


def test_the_page_shows_it() -> None:
    page = render(one_model(), made_up_info())
    section = page[page.index('<section id="precisions"') :]
    section = section[: section.index("</section>")]
    assert section.count("<tr>") == 1 + 5
    assert "agrees: labels 99.7\N{NO-BREAK SPACE}%, scores 99.2\N{NO-BREAK SPACE}%" in section
    assert "†" in section
