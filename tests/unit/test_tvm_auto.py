"""Orders found by MetaSchedule are right, candidates that die or are wrong are discarded, and what
was measured is not measured again."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_tvm_system import deviation, expected, plan_of

from dlas.errors import OverBudget
from dlas.layer import member
from dlas.network import Network
from dlas.network.builder import Builder
from dlas.systems.tvm.runtime import LIBRARY, load_library, quick_import
from dlas.target import host
from dlas.testing.networks import noise_images, tiny

pytest.importorskip("tvm", reason="tvm is not installed: pip install 'dlas[tvm]'")
quick_import("tvm")

from dlas.systems.tvm import auto, auto_search  # noqa: E402
from dlas.systems.tvm.auto import AutoScheduler  # noqa: E402
from dlas.systems.tvm.blocked import translate_blocked  # noqa: E402
from dlas.systems.tvm.contest import Contests  # noqa: E402
from dlas.systems.tvm.frontend import translate  # noqa: E402
from dlas.systems.tvm.lower import build, fused, kernels_of  # noqa: E402
from dlas.systems.tvm.schedule import form_in  # noqa: E402
from dlas.systems.tvm.sparse import SparseLayers  # noqa: E402
from dlas.systems.tvm.template import by_rule, opened, primitive_in  # noqa: E402
from dlas.systems.tvm.trial import Contest  # noqa: E402

CASES = ("spatial_pack", "gemm", "direct", "winograd")


@pytest.fixture(autouse=True)
def _few_candidates_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto_search, "POPULATION", 4)
    monkeypatch.setattr(auto_search, "GENERATIONS", 1)
    monkeypatch.setattr(auto_search, "ROUND", 2)


def network() -> Network:
    b = Builder((16, 6, 6), seed=1)
    x = b.relu(b.conv("input", "conv", 16, 3, bias=True))
    return b.network(b.dense(b.flatten(b.global_average_pool(x)), "fc", 10))


def kernel_of(algorithm: str = "spatial_pack") -> Any:
    """The convolution's."""
    module = translate_blocked(network(), plan_of(network(), algorithm), host().lanes)
    kernels = kernels_of(fused(module, host(), 1)).values()
    return next(k for k in kernels if stage(k) == algorithm and len(k.params[-1].shape) > 3)


def stage(kernel: Any) -> str:
    primitive = primitive_in(opened(kernel))
    return getattr(primitive, "name", "")


def is_right(kernel: Any, ordered: Any) -> bool:
    """Whether it computes what the kernel in its plain order does, in a process that may die."""
    given = auto.random_arguments(kernel, AutoScheduler(host(), 1, 1).setting, None, 0)
    contest = Contest([lambda: kernel, lambda: ordered], lambda: kernel, lambda _: given)
    ((_, outcomes),) = Contests([contest], host(), 1).hold()
    return [each.status for each in outcomes] == ["ok", "ok"]


def scheduler(folder: Path, trials: int = 4, **options: Any) -> AutoScheduler:
    return AutoScheduler(host(), 1, trials, folder, **options)


def inject(
    monkeypatch: pytest.MonkeyPatch, fault: Callable[[Any], Any], numbers: Container[int]
) -> None:
    """Let the candidates of these numbers have the fault, counted as they are made, from 1. That is
    in forked processes, and again for those that were beside one that died."""
    made = multiprocessing.get_context("fork").Value("i", 0)

    def tried(candidate: Any) -> Any:
        with made.get_lock():
            made.value += 1
            number = made.value
        return fault(candidate) if number in numbers else candidate

    monkeypatch.setattr(auto, "tried", tried)


@pytest.mark.parametrize("algorithm", CASES)
def test_the_order_found_is_another_and_right(algorithm: str, tmp_path: Path) -> None:
    kernel, searched = kernel_of(algorithm), scheduler(tmp_path, trials=2)
    (ordered,) = searched.arrange([kernel])
    assert is_right(kernel, ordered)
    assert searched.notes == []
    assert ordered.script() != searched.usual(kernel).script()


def test_two_threads(tmp_path: Path) -> None:
    kernel, searched = kernel_of(), AutoScheduler(host(), 2, 2, tmp_path)
    (ordered,) = searched.arrange([kernel])
    assert is_right(kernel, ordered)
    assert searched.notes == []


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many candidates were measured together, each time."""
    numbers, measured = [], AutoScheduler._measured

    def counted(self: AutoScheduler, kernel: Any, statuses: Any, candidates: Any) -> Any:
        numbers.append(len(candidates))
        return measured(self, kernel, statuses, candidates)

    monkeypatch.setattr(AutoScheduler, "_measured", counted)
    return numbers


def test_what_was_measured_is_not_measured_again(tmp_path: Path, asked: list[int]) -> None:
    kernel = kernel_of()
    (first,) = scheduler(tmp_path, trials=2).arrange([kernel])
    (again,) = scheduler(tmp_path, trials=2).arrange([kernel])
    assert asked == [2]
    assert again.script() == first.script()
    scheduler(tmp_path, trials=4).arrange([kernel])
    assert asked == [2, 2]


def test_what_was_done_is_counted(tmp_path: Path) -> None:
    first, again = scheduler(tmp_path), scheduler(tmp_path)
    for each in (first, again):
        each.arrange([kernel_of()])
    assert (first.tally.kernels, first.tally.known, first.tally.measured) == (1, 0, 4)
    assert (again.tally.kernels, again.tally.known, again.tally.measured) == (1, 1, 0)
    assert first.tally.seconds > again.tally.seconds == 0


def test_a_search_that_would_take_too_long_is_given_up(tmp_path: Path, asked: list[int]) -> None:
    kernel = kernel_of()
    with pytest.raises(
        OverBudget, match=r"searching 9 kernels, 2 candidates each, .* allows 1e-09"
    ):
        scheduler(tmp_path, trials=2, search_s=1e-9).arrange([kernel] * 9)
    assert asked == [2]
    (again,) = scheduler(tmp_path, trials=2, search_s=1e-9).arrange(
        [kernel]
    )  # what was found counts
    assert is_right(kernel, again)
    assert asked == [2]


def test_where_nothing_can_be_kept_a_search_goes_on_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    searched = scheduler(tmp_path / "file" / "auto", trials=2)
    [ordered] = searched.arrange([kernel_of()])
    assert is_right(kernel_of(), ordered)
    (note,) = searched.notes
    assert note.startswith(f"{tmp_path}/file/auto cannot be used (")
    assert note.endswith("make it writable, or name another folder in $DLAS_CACHE")


def test_a_kernel_that_another_searches_is_waited_for(tmp_path: Path, asked: list[int]) -> None:
    searched = scheduler(tmp_path, trials=2)
    place = tmp_path / searched.digest(kernel_of())
    place.mkdir()
    other = (place / auto.LOCK).open("w")
    fcntl.flock(other, fcntl.LOCK_EX)
    ended = []

    def end() -> None:
        ended.append(list(asked))
        (place / auto.SEARCHED).write_text("2")
        other.close()

    threading.Timer(0.5, end).start()
    searched.arrange([kernel_of()])
    assert ended == [[]]
    assert asked == []


def test_a_killed_search_goes_on_from_where_it_was(tmp_path: Path, asked: list[int]) -> None:
    kernel = kernel_of()
    scheduler(tmp_path, trials=4).arrange([kernel])
    (place,) = tmp_path.iterdir()
    (place / auto.SEARCHED).unlink()
    records = (place / auto.RECORDS).read_bytes().splitlines(keepends=True)
    (place / auto.RECORDS).write_bytes(b"".join(records[:3]) + records[3][:40])
    resumed = scheduler(tmp_path, trials=4)
    (ordered,) = resumed.arrange([kernel])
    assert asked == [2, 2, 1]
    assert resumed.notes == []
    assert is_right(kernel, ordered)


def test_a_damaged_database_is_set_aside(tmp_path: Path, asked: list[int]) -> None:
    kernel = kernel_of()
    scheduler(tmp_path, trials=2).arrange([kernel])
    (place,) = tmp_path.iterdir()
    (place / "database_workload.json").write_text("{no JSON\n")
    anew = scheduler(tmp_path, trials=2)
    (ordered,) = anew.arrange([kernel])
    assert asked == [2, 2]
    (note,) = anew.notes
    assert note.startswith(f"what was measured in {place} cannot be read (")
    assert note.endswith(f"it lies in {place.name}.damaged-1 now, and the search begins anew")
    assert (tmp_path / f"{place.name}.damaged-1" / auto.RECORDS).exists()
    assert is_right(kernel, ordered)


def test_candidates_that_crash_are_discarded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inject(monkeypatch, lambda _: os._exit(3), {1})
    kernel, searched = kernel_of(), scheduler(tmp_path)
    (ordered,) = searched.arrange([kernel])
    assert searched.notes == ["1 of 4 candidates were discarded: 1 crashed"]
    assert is_right(kernel, ordered)


def test_candidates_that_hang_are_discarded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inject(monkeypatch, lambda _: time.sleep(600), {1})
    kernel, searched = kernel_of(), scheduler(tmp_path, limit_s=3.0)
    (ordered,) = searched.arrange([kernel])
    assert searched.notes == ["1 of 4 candidates were discarded: 1 timed out"]
    assert is_right(kernel, ordered)


def nought(kernel: Any) -> Any:
    """A kernel with the same parameters that writes zeros."""
    import tvm
    from tvm import te

    image, weight, bias, output = (
        te.placeholder(tuple(map(int, each.shape)), str(each.dtype)) for each in kernel.params
    )
    zeros = te.compute(output.shape, lambda *_: tvm.tirx.const(0, output.dtype), name="zeros")
    return te.create_prim_func([image, weight, bias, zeros])


def test_candidates_that_are_wrong_are_discarded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inject(monkeypatch, nought, {2, 3})
    kernel, searched = kernel_of(), scheduler(tmp_path)
    (ordered,) = searched.arrange([kernel])
    assert searched.notes == ["2 of 4 candidates were discarded: 2 wrong"]
    assert is_right(kernel, ordered)


def test_a_kernel_of_which_nothing_is_right_keeps_its_usual_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inject(monkeypatch, nought, range(100))
    kernel, searched = kernel_of(), scheduler(tmp_path, trials=2)
    (ordered,) = searched.arrange([kernel])
    assert searched.notes == [
        "MetaSchedule found nothing right for the spatial_pack kernel of "
        f"{' × '.join(str(int(n)) for n in kernel.params[-1].shape)}: its loops are in their usual "
        "order",
        "2 of 2 candidates were discarded: 2 wrong",
    ]
    assert ordered.script() == searched.usual(kernel).script()


def test_a_kernel_that_metaschedule_cannot_take_keeps_its_usual_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: Any) -> None:
        raise RuntimeError("a trace\nno such block")

    monkeypatch.setattr(auto_search.Search, "run", refuses)
    kernel, searched = kernel_of(), scheduler(tmp_path)
    (ordered,) = searched.arrange([kernel])
    first, second = searched.notes
    assert first.startswith("MetaSchedule cannot search the spatial_pack kernel of 1 × ")
    assert first.endswith(": no such block")
    assert second.endswith("its loops are in their usual order")
    assert ordered.script() == searched.usual(kernel).script()


def test_without_a_cost_model_candidates_are_drawn_at_random(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (auto, auto_search):
        monkeypatch.setattr(module, "has_cost_model", lambda: False)
    kernel, searched = kernel_of(), scheduler(tmp_path, trials=2)
    (ordered,) = searched.arrange([kernel])
    assert searched.notes == [
        "without a cost model candidates were drawn at random: pip install 'dlas[auto]'"
    ]
    assert is_right(kernel, ordered)


def test_the_kernels_given_stay_as_they_are(tmp_path: Path) -> None:
    for algorithm in CASES:
        kernel = kernel_of(algorithm)
        before = kernel.script()
        scheduler(tmp_path).usual(kernel)
        assert kernel.script() == before


def test_kernels_without_products_and_forms_go_by_the_rule(
    tmp_path: Path, asked: list[int]
) -> None:
    """Pooling and layout changes; and sparse forms, whose loops no schedule moves."""
    given, algorithm = network(), member("algorithms", "direct")(format="csr", threshold=0.0)
    for plan in (plan_of(given, "spatial_pack"), algorithm.plan(given)):
        module = fused(translate_blocked(given, plan, host().lanes), host(), 1)
        kernels = kernels_of(module).values()
        others = [k for k in kernels if not stage(k) or form_in(opened(k)) is not None]
        assert len(others) > 1
        ordered = scheduler(tmp_path).arrange(others)
        rule = [by_rule(kernel, host(), 1) for kernel in others]
        assert [each.script() for each in ordered] == [each.script() for each in rule]
    assert any(form_in(opened(kernel)) is not None for kernel in others)
    assert asked == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_whole_networks_agree_with_onnxruntime(dtype: Any, tmp_path: Path) -> None:
    given = tiny("plain", dtype)
    plan = plan_of(given, "gemm")
    if dtype == "float32":
        module = translate_blocked(given, plan, host().lanes)
    else:
        module = translate(given, plan, SparseLayers(host(), 1))
    searched = scheduler(tmp_path / "auto", trials=2)
    build(module, host(), 1, tmp_path / LIBRARY, searched.arrange)
    run = load_library(tmp_path / LIBRARY, 1)
    images = noise_images(given.input_shape, 2, seed=1)
    found = np.concatenate([run(images[i : i + 1]) for i in range(2)])
    assert deviation(found, expected(given, images)) < (1e-5 if dtype == "float32" else 0.05)
    assert len(list((tmp_path / "auto").iterdir())) > 1
    assert searched.notes == []
