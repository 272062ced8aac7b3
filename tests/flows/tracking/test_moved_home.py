"""A home that was copied elsewhere: nothing in it leads back to the old place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from flows.tracking.client import Tracker
from flows.tracking.sqlite import follow_moved_home
from tests.scenarios.tiny_study import in_process

if TYPE_CHECKING:
    from tests.conftest import Finished


def test_a_copied_home_exports_its_own_files(finished: Finished, tmp_path: Path) -> None:
    home = tmp_path / "a b#%"
    shutil.copytree(finished.home, home)
    for spec in (str(home / "tiny" / "mixspec.yaml"), "models:/tiny@champion"):
        done = in_process(home, "export", spec, "--to", "megatron", "--out", str(tmp_path / "blend.json"))
        assert done.returncode == 0, done.stderr
        assert f"note: the token files are read in {home}/tiny, not in" in done.stderr
        prefixes = json.loads((tmp_path / "blend.json").read_text())["train"][1::2]
        assert all(Path(f"{prefix}.bin").is_relative_to(home) for prefix in prefixes)
        assert all(Path(f"{prefix}.bin").is_file() for prefix in prefixes)
    shutil.rmtree(home / "tiny" / "tokens")
    (home / "tiny" / "mixspec.yaml").write_text(
        (home / "tiny" / "mixspec.yaml").read_text().replace("data_root: ", "data_root: /gone")
    )
    done = in_process(home, "export", str(home / "tiny" / "mixspec.yaml"), "--to", "megatron")
    assert done.returncode == 0
    assert "on this machine; --data-root DIR says where" in done.stderr


def test_artifacts_are_written_where_the_home_is_now(mlflow_uri: str, tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after (#2)"
    before.mkdir()
    shutil.move(tmp_path / "mlflow.db", before / "mlflow.db")
    old = Tracker(f"sqlite:///{before}/mlflow.db", before, "tiny")
    run = old.client.create_run(old.experiment).info.run_id
    (tmp_path / "file.txt").write_text("text")
    old.client.log_artifact(run, str(tmp_path / "file.txt"))
    shutil.copytree(before, after)
    held = sorted(before.rglob("*"))
    moved = Tracker(f"sqlite:///{after}/mlflow.db", after, "tiny")
    assert moved.client.get_run(run).info.artifact_uri.startswith((after / "mlartifacts").as_uri())
    new = moved.client.create_run(moved.experiment).info.run_id
    moved.client.log_artifact(new, str(tmp_path / "file.txt"), "again")
    assert (after / "mlartifacts" / "tiny" / new / "artifacts" / "again" / "file.txt").exists()
    assert sorted(before.rglob("*")) == held
    # The same folder by another name is no move.
    (tmp_path / "link").symlink_to(after)
    follow_moved_home(f"sqlite:///{tmp_path}/link/mlflow.db")
    assert moved.client.get_run(run).info.artifact_uri.startswith((after / "mlartifacts").as_uri())
