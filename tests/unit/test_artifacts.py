"""Artifacts: whole or not there; damage is found; processes may race."""

from __future__ import annotations

import logging
import threading
import uuid
from pathlib import Path

import pytest

from dlas.errors import StoreError
from dlas.store.artifacts import MANIFEST, Artifacts
from dlas.store.store import Store

KEY = "ab" * 32


def make(artifacts: Artifacts, text: str = "hello") -> Path:
    folder = artifacts.begin(KEY)
    (folder / "file").write_text(text)
    return artifacts.finish(KEY, folder)


def test_made_once_found_after(tmp_path: Path) -> None:
    assert Artifacts(tmp_path).find(KEY) is None
    make(Artifacts(tmp_path))
    found = Artifacts(tmp_path).find(KEY)
    assert found is not None
    assert (found / "file").read_text() == "hello"


def test_unfinished_work_is_not_found_and_is_swept(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    folder = artifacts.begin(KEY)
    (folder / "file").write_text("half")
    assert artifacts.find(KEY) is None
    artifacts.sweep()
    assert folder.exists()  # its process, this one, lives
    dead = folder.rename(folder.with_name("999999999-abab-x"))
    artifacts.sweep()
    assert not dead.exists()


@pytest.mark.parametrize(
    "damage, said",
    [
        (lambda folder: (folder / "file").write_text("hullo"), "file has changed"),
        (lambda folder: (folder / "file").write_text("hell"), "file has changed"),
        (lambda folder: (folder / "file").unlink(), "file is gone"),
        (lambda folder: (folder / MANIFEST).write_text("{"), "manifest.json cannot be read"),
        (lambda folder: (folder / MANIFEST).unlink(), "manifest.json cannot be read"),
        (lambda folder: (folder / MANIFEST).write_text("[1]"), "manifest.json cannot be read"),
    ],
)
def test_damage_is_found_said_and_remade(
    tmp_path: Path, damage: object, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    damage(make(Artifacts(tmp_path)))  # type: ignore[operator]
    artifacts = Artifacts(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert artifacts.find(KEY) is None
    assert f"artifact {KEY[:12]} is damaged ({said}) and is made again" in caplog.text
    make(artifacts)
    assert Artifacts(tmp_path).find(KEY) is not None


def test_the_first_of_two_processes_wins(tmp_path: Path) -> None:
    one, two = Artifacts(tmp_path), Artifacts(tmp_path)
    first, second = one.begin(KEY), two.begin(KEY)
    (first / "file").write_text("first")
    (second / "file").write_text("second")
    one.finish(KEY, first)
    place = two.finish(KEY, second)
    assert (place / "file").read_text() == "first"
    assert not list((tmp_path / "scratch").iterdir())


def test_checkpoints_live_until_the_artifact_is_finished(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    artifacts.checkpoints(KEY).mkdir(parents=True)
    make(artifacts)
    assert not artifacts.checkpoints(KEY).exists()


def test_artifacts_are_shared_through_a_remote_place(tmp_path: Path) -> None:
    remote = f"memory://{uuid.uuid4().hex}"
    make(Artifacts(tmp_path / "here", remote))
    found = Artifacts(tmp_path / "there", remote).find(KEY)
    assert found is not None
    assert (found / "file").read_text() == "hello"


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        Artifacts(tmp_path / "file").begin(KEY)


def test_one_run_at_a_time_in_a_store(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path)
    ended: list[str] = []

    def second() -> None:
        with Store(tmp_path).locked():
            ended.append("second")

    with store.locked():
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        ended.append("first")
    thread.join()
    assert ended == ["first", "second"]
    assert "another run is at work" in caplog.text
