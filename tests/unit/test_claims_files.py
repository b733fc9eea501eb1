"""The shipped claims, the documented example, and what is said of a file that cannot be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from claims_frames import ARM, CPU, GPU, MALI, grid
from claims_worlds import opposite_world, paper_world

from dlas.analysis.claims import Claim, judge, open_claims, published
from dlas.analysis.claims.kinds import TABLE
from dlas.errors import DlasError

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "claims.toml"
NUMERALS = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII", "XIII")
OBSERVATIONS = [f"dlas.{numeral}" for numeral in NUMERALS]


@pytest.fixture(scope="module")
def claims() -> dict[str, Claim]:
    return {claim.id: claim for claim in published()}


def test_all_thirteen_observations_come_first(claims: dict[str, Claim]) -> None:
    assert list(claims)[:13] == OBSERVATIONS
    assert [c.id for c in claims.values() if c.kind == "observation"] == OBSERVATIONS


def test_names_are_unique_and_say_what_they_are(claims: dict[str, Claim]) -> None:
    assert len(claims) == len(published())
    groups = {"order": "dlas.order.", "conclusion": "dlis.", "number": "dl"}
    for claim in claims.values():
        assert claim.id.startswith(groups.get(claim.kind, "dlas.")), claim.id


def test_every_claim_has_a_source_and_a_reading(claims: dict[str, Claim]) -> None:
    for claim in claims.values():
        assert claim.source.link.startswith("https://"), claim.id
        assert claim.reading.endswith("."), claim.id
        assert not (claim.derived and claim.quoted), claim.id
        if len(claim.test) > 1:
            assert all(test.part for test in claim.test), claim.id


def test_words_like_generally_are_given_a_meaning(claims: dict[str, Claim]) -> None:
    for claim in claims.values():
        words = [getattr(test, "how_often", "") for test in claim.test]
        if "generally" in words:
            assert "more than half" in claim.reading, claim.id
        if "rarely" in words:
            assert "fewer than a quarter" in claim.reading, claim.id
        if claim.names_tuned:
            assert "Tuned is the kind of tuning with the most settings" in claim.reading, claim.id
    assert "at most 64 × 64 pixels" in claims["dlas.II"].reading
    assert "at least 128 × 128 pixels" in claims["dlas.II"].reading


def test_where_all_that_the_paper_saw_is_so_every_observation_holds() -> None:
    verdicts = judge(published(), paper_world())
    wrong = [v for v in verdicts if v.claim.kind == "observation" and v.verdict != "holds"]
    assert not wrong, wrong[0].sentence
    assert {v.claim.id for v in verdicts} == {claim.id for claim in published()}
    never = [v.claim.id for v in verdicts if v.verdict == "not testable here"]
    assert not never, "a claim that no study could test"


def test_where_it_is_the_other_way_round_every_observation_is_contradicted() -> None:
    verdicts = judge(published(), opposite_world())
    found = {v.claim.id: v.verdict for v in verdicts if v.claim.kind == "observation"}
    # within a data set, and over compressions, time follows work closely in another world yet
    follows = grid(lambda row: 1e-9 * row["effective_macs"], tuning=("untuned",))
    found["dlas.I"] = judge([c for c in published() if c.id == "dlas.I"], follows)[0].verdict
    assert found == dict.fromkeys(OBSERVATIONS, "contradicted")


def test_on_one_cpu_what_needs_other_devices_says_so() -> None:
    verdicts = {v.claim.id: v for v in judge(published(), paper_world(CPU))}
    for name in ("dlas.VIII", "dlas.XIII", "dlas.order.float16-gpu", "dlis.depends-on-device"):
        assert verdicts[name].verdict == "not testable here"
        assert re.search("run the study on (a GPU|one that has)", verdicts[name].missing[0])
    assert verdicts["dlas.IX"].verdict == "not testable here"
    assert verdicts["dlas.IX"].sentence.startswith("CPUs, holds: ")
    assert "GPUs, not testable here: None of the machines is a GPU" in verdicts["dlas.IX"].sentence


@pytest.mark.parametrize(
    "machine, device, processor",
    [
        (CPU, "cpu", "x86"), (ARM, "cpu", "arm"), (GPU, "gpu", "other"), (MALI, "gpu", "arm"),
        ("i7-8700, 6 cores", "cpu", "x86"), ("NVIDIA H100 80GB", "gpu", "other"),
        ("device null", "cpu", "other"),
        ("AMD Ryzen 7 5800H with Radeon Graphics, 16 cores, 14 GiB, x86_64 0123abcd", "cpu", "x86"),
        (f"{CPU}, gpu NVIDIA H100", "gpu", "x86"),
    ],
)  # fmt: skip
def test_device_and_processor_by_the_machines_name(
    machine: str, device: str, processor: str
) -> None:
    from dlas.analysis.claims.cells import prepare

    cells = prepare(grid(machine=machine), None)
    assert set(cells.frame["device"]) == {device}
    assert set(cells.frame["processor"]) == {processor}


def test_the_documented_example_has_every_kind_and_is_judged() -> None:
    claims = open_claims(EXAMPLE)
    assert {type(test) for claim in claims for test in claim.test} == set(TABLE.values())
    for verdict in judge(claims, paper_world(CPU)):
        assert verdict.verdict in ("holds", "contradicted", "undecided"), verdict.sentence


def test_the_documentation_names_every_kind_and_verdict() -> None:
    text = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
    for word in (*TABLE, "holds", "contradicted", "undecided", "not testable here"):
        assert f"`{word}`" in text


SOURCE = '[source]\npaper = "Ours"\n'
CLAIM = '[[claim]]\nid = "own.one"\ntitle = "T"\nstatement = "S"\nreading = "R"\n'
TEST = '[[claim.test]]\nkind = "faster"\nchoice = {primitive = "gemm"}\n'
THAN = 'than = [{primitive = "direct"}]\n'
CHANGE = 'before = {tuning = "untuned"}\nafter = {tuning = "tuned"}\n'
GAIN = f'[[claim.test]]\nkind = "gain"\nchoice = {{}}\nthan = {{}}\n{CHANGE}'
FLIP = f'[[claim.test]]\nkind = "flip"\nlevels = [{{}}, {{}}]\n{CHANGE}'


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", "$.claim: a file of claims has [source] and [[claim]] tables, one claim or more"),
        ("x = ", "not TOML"),
        ("name = 3\n", "$.name: a file of claims has"),
        (CLAIM + TEST + THAN, "$.source"),
        ("[source]\n" + CLAIM + TEST + THAN, "$.source.paper: source needs this field"),
        (SOURCE + CLAIM, "$.claim[0].test: a claim needs one [[claim.test]] or more"),
        (SOURCE + "[[claim]]\nid = 'a b'\n", "$.claim[0].id"),
        (SOURCE + CLAIM.replace("title", "titel") + TEST + THAN, "did you mean 'title'?"),
        (SOURCE + CLAIM + TEST, "$.claim[0].test[0].than: faster needs this field"),
        (SOURCE + CLAIM + TEST + "than = []\n", "$.claim[0].test[0].than"),
        (SOURCE + CLAIM + TEST + THAN + "how_often = 'usually'\n", "one of always"),
        (SOURCE + CLAIM + TEST + THAN + "column = 'latency'\n", "did you mean 'latency_s'?"),
        (SOURCE + CLAIM + TEST + THAN + "times = 0\n", "$.claim[0].test[0].times"),
        (SOURCE + CLAIM + TEST + THAN + "where = {primitiv = 'x'}\n", "did you mean 'primitive'?"),
        (SOURCE + CLAIM + TEST + THAN + "where = {primitive = 3}\n", "3 is not a text"),
        (SOURCE + CLAIM + TEST + THAN + "where = {pixels = 'many'}\n", "comparison such as"),
        (SOURCE + CLAIM + TEST + THAN + "where = {network = '<= 5'}\n", "network is a text"),
        (SOURCE + CLAIM + TEST + THAN + "where = {network = ['a', '> 1']}\n", "network is a text"),
        (SOURCE + CLAIM + GAIN + "times = 0\n", "$.claim[0].test[0].times"),
        (SOURCE + CLAIM + GAIN + "gains = 'differently'\ntimes = 0.5\n", "0.5 is below 1"),
        (SOURCE + CLAIM + FLIP + "for_each = ['optimizations']\n", "a flip has no side to split"),
        (SOURCE + CLAIM + TEST + THAN + "where = {pixels = []}\n", "an empty list selects nothing"),
        (SOURCE + CLAIM + TEST + THAN + "best_over = ['tiles']\n", "'tiles' is not a column"),
        (SOURCE + CLAIM + TEST.replace("faster", "fastest") + THAN, "did you mean 'faster'?"),
        (SOURCE + CLAIM + TEST + THAN + CLAIM + TEST + THAN, "'own.one' is there already"),
        (SOURCE + CLAIM + "[[claim.test]]\nkind = 'correlation'\nof = ['macs', 'accuracy']\n",
         "a correlation needs a bound"),
        (SOURCE + CLAIM + "[[claim.test]]\nkind = 'average'\nchoice = {}\n", "an average needs"),
        (SOURCE + CLAIM + "[[claim.test]]\nkind = 'differs'\ncolumn = 'accuracy'\nchoice = {}\n"
         "than = {}\n", "'accuracy' has no ratios, which differs needs"),
        (SOURCE + CLAIM + TEST + THAN + "where = {compression = ['not none', 'int8']}\n",
         "where.compression: ['not none', 'int8']: either levels, or each with 'not'"),
        (SOURCE + CLAIM + TEST + THAN + "points = 2\n",
         "$.claim[0].test[0].points: latency_s compares by ratios: say times"),
        (SOURCE + CLAIM + TEST + THAN + "column = 'accuracy'\ntimes = 2\n",
         "$.claim[0].test[0].times: accuracy compares by points: say points"),
        (SOURCE + CLAIM + TEST + THAN.replace("direct", "gemm"),
         "$.claim[0].test[0].than[0]: the same as choice"),
        (SOURCE + CLAIM + FLIP, "$.claim[0].test[0].levels[1]: the same as levels[0]"),
        (SOURCE + CLAIM + FLIP.replace('"tuned"', '"untuned"'),
         "$.claim[0].test[0].after: the same as before: nothing differs"),
        (SOURCE + CLAIM + GAIN, "$.claim[0].test[0].than: the same as choice"),
        (SOURCE + CLAIM + "[[claim.test]]\nkind = 'promise'\nchoice = {}\ncolumn = 'macs'\n",
         "$.claim[0].test[0].column: promises are of latency"),
        (SOURCE + CLAIM + "[[claim.test]]\nkind = 'correlation'\nof = ['macs', 'accuracy']\n"
         "below = 0.5\nwithin = ['network']\n", "it correlates over networks"),
        (SOURCE + CLAIM + TEST + THAN + "where = {accuracy = '>= 70'}\n",
         "where.accuracy: '>= 70', but accuracy is a share in [0, 1]: >= 0.7"),
        (SOURCE + CLAIM + TEST + THAN + "where = {baseline_accuracy = 92}\n",
         "92, but baseline_accuracy is a share in [0, 1]: 0.92"),
        (SOURCE + CLAIM + TEST + THAN + "where = {threads = true}\n",
         "$.claim[0].test[0].where.threads: True is neither a text nor a number"),
        (SOURCE + CLAIM + TEST + 'than = [{primitive = [["direct"]]}]\n',
         "$.claim[0].test[0].than[0].primitive: ['direct'] is neither a text nor a number"),
        (SOURCE + CLAIM + TEST + THAN + "where = 'gemm'\n", "where: 'gemm' is not a table"),
        (SOURCE + CLAIM.replace("own.one", "a b") + TEST + THAN,
         "$.claim[0].id: 'a b' is not a text that matches ^[A-Za-z0-9_.-]+$"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_told_its_place_and_remedy(
    text: str, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DlasError) as caught:
        open_claims(path)
    assert sentence in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value).replace(text, "")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DlasError, match="No such file"):
        open_claims(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DlasError, match="not a text"):
        open_claims(tmp_path / "bytes.toml")
