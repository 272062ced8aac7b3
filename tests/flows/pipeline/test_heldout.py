"""Held-out windows of a study: how many, what they cost, and what their losses do for its answer."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from flows.pipeline.analysis import Recommendation
from flows.pipeline.analysis_cache import CachedDecision
from flows.pipeline.confirmation import confirm, confirmed_run
from flows.pipeline.files import runs_table, tables_of
from flows.pipeline.heldout import MOST_TOKENS, windows_of
from flows.pipeline.plan import make_plan
from flows.pipeline.prepare import supply_of
from flows.pipeline.question import StudyQuestion
from flows.pipeline.run_specs import confirmation_spec, proxy_spec
from flows.pipeline.workspace import Workspace
from mixing.errors import InputError
from mixing.runs.heldout import WINDOW_LOSSES
from mixing.runs.read import read_runs
from proxies.data.token_store import TokenStore
from tests.conftest import Finished
from tests.flows.study.short_study import GOOD, load
from tests.scenarios.tiny_study import mixlaw


def with_windows(windows: object, tokens: str = "0.5M") -> str:
    return GOOD.replace("0.5M", tokens) + f"heldout: {{windows: {windows}}}\n"


def test_auto_takes_what_a_part_of_the_training_pays_for(tmp_path: Path) -> None:
    given = windows_of(load(tmp_path, with_windows(200)))
    assert (given.few, given.last, given.auto) == (200, 200, False)
    auto = windows_of(load(tmp_path, with_windows("auto")))
    # 15 % of 500k training tokens, in forward passes, in two domains of windows of 64 tokens; nine earlier budgets.
    assert (auto.few, auto.last, auto.auto) == (162, 1464, True)
    assert windows_of(load(tmp_path, with_windows("auto", "1k"))).last == 64
    most = windows_of(load(tmp_path, with_windows("auto", "1B")))
    assert (most.few, most.last) == (MOST_TOKENS // 64, MOST_TOKENS // 64)


def test_windows_that_are_neither_a_number_nor_auto_are_refused(tmp_path: Path) -> None:
    for wrong in ("many", 1, "true"):
        with pytest.raises(InputError, match=r"heldout\.windows"):
            load(tmp_path, with_windows(wrong))


def test_a_file_without_the_key_asks_what_it_asked(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD).identity == load(tmp_path, with_windows(64)).identity


def test_increments_of_a_study_know_their_sampling_error(finished: Finished) -> None:
    workspace = Workspace.load(finished.study, finished.home)
    store = TokenStore.open(workspace.folder.tokens, verify=False)
    listed = json.loads((workspace.folder.runs / "answered.json").read_text())["runs"]
    table = runs_table(workspace.folder.runs, listed)
    assert table.trained["increment_stderr"].null_count() == 0
    # Run and base find the same general windows hard: paired, the error is smaller than that of the loss.
    last = table.trained.filter(tokens=table.trained["tokens"].max(), eval="docs")
    assert (last["increment_stderr"] < last["stderr"]).all()
    question = StudyQuestion.of(workspace.study, supply_of(store), table)
    sampling_n = question.question.increments(table).general_sampling_n
    assert sampling_n is not None
    assert sampling_n.min() > 0
    # The door and the command line read the same from the run store.
    folder = read_runs(str(workspace.folder.runs))
    assert folder.rows.sort("run", "tokens", "eval").equals(table.rows.sort("run", "tokens", "eval"))
    assert not any("sampling error" in warning for warning in question.decide(table).warnings)


def test_runs_without_losses_of_single_windows_are_read_as_before(finished: Finished, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(finished.folder / "runs", runs)
    confirming, _ = confirmed_run(finished.folder / "confirmation.json")
    answered = json.loads((runs / "answered.json").read_text())["runs"]
    listed = [run for run in answered if run != confirming]
    known, files = runs_table(runs, listed), tables_of(runs, listed)
    assert len(files) == 2 * len(listed)
    for run in listed:
        (runs / run / WINDOW_LOSSES).unlink()
    old = runs_table(runs, listed)
    assert old.rows["increment_stderr"].null_count() == old.rows.height
    assert old.rows["loss"].equals(known.rows["loss"])
    # The analysis is another one than with the windows: its cache is of these files.
    assert tables_of(runs, listed) == files[: len(listed)]
    (runs / listed[1] / WINDOW_LOSSES).write_bytes(b"no table")
    with pytest.raises(InputError, match=rf"{WINDOW_LOSSES}: cannot be read .*Delete that run's folder"):
        runs_table(runs, listed)


def test_the_confirmation_is_measured_on_text_that_no_fit_has_seen(finished: Finished) -> None:
    run, _ = confirmed_run(finished.folder / "confirmation.json")
    record = json.loads((finished.folder / "confirmation.json").read_text())
    assert record["other_text"]
    assert "on held-out text of its own" in " ".join(finished.screen.split())
    runs = finished.folder / "runs"
    spec = json.loads((runs / run / "spec.json").read_text())
    assert spec["heldout"] == "confirmation"
    base = json.loads((runs / "answered.json").read_text())["runs"][0]
    table = runs_table(runs, [base, run])
    assert set(table.trained["heldout"]) == {"confirmation"}
    general = table.trained.filter(eval="docs").sort("tokens").row(-1, named=True)
    before = table.base.filter(eval="docs")["loss"][0]
    assert record["observed"]["general"] == pytest.approx(general["loss"] - before)
    # Its own windows' luck is in the interval that it is held against.
    swarm = json.loads((finished.folder / "swarm-answer.json").read_text())["decision"]
    low, high = swarm["predicted"]["docs"]["interval"]
    _, predicted_low, predicted_high = record["predicted"]["general"]
    widened = ((high - low) / 2) ** 2 + (1.6449 * general["increment_stderr"]) ** 2
    assert ((predicted_high - predicted_low) / 2) ** 2 == pytest.approx(widened, rel=1e-3)


def test_where_no_other_windows_are_left_a_confirmation_is_measured_on_those_of_the_proxies(
    finished: Finished,
) -> None:
    workspace = Workspace.load(finished.study, finished.home)
    store = TokenStore.open(workspace.folder.tokens, verify=False)
    planned = make_plan(workspace.study, supply_of(store)).of_kind("proxy")[0]
    assert confirmation_spec(workspace, store, planned, "0" * 16).heldout == "confirmation"
    part = workspace.study.heldout.model_copy(update={"windows": 100_000})
    every = Workspace(workspace.study.model_copy(update={"heldout": part}), workspace.root)
    same = confirmation_spec(every, store, planned, "0" * 16)
    assert same == proxy_spec(every, store, planned, "0" * 16)


def test_a_run_that_is_done_on_the_windows_of_the_proxies_is_not_trained_again(finished: Finished) -> None:
    """As version 0.1.0 measured confirmations."""
    workspace = Workspace.load(finished.study, finished.home)
    store = TokenStore.open(workspace.folder.tokens, verify=False)
    planned = make_plan(workspace.study, supply_of(store)).of_kind("proxy")[0]
    base = json.loads((workspace.folder.runs / "answered.json").read_text())["runs"][0]
    assert confirmation_spec(workspace, store, planned, base) == proxy_spec(workspace, store, planned, base)


def test_plan_says_what_held_out_losses_cost(finished: Finished, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    shutil.copytree(finished.study.parent / "corpora", folder / "corpora")
    study = folder / "study.yaml"
    study.write_text(finished.study.read_text().replace("windows: 48", "windows: auto"))
    shown = mixlaw(folder / "home", "plan", str(study), "--json")
    assert shown.returncode == 0, shown.stderr
    plan = json.loads(shown.stdout)
    # 15 % of 16k training tokens, in forward passes, in two domains of windows of 32 tokens.
    assert plan["heldout_windows"] == 93
    assert 0.1 < plan["heldout_part_of_work"] < 0.7


def test_a_confirmation_without_its_windows_is_refused(finished: Finished, tmp_path: Path) -> None:
    """Its losses are of text that the base in the table was not measured on: their difference is no increment."""
    runs = tmp_path / "runs"
    shutil.copytree(finished.folder / "runs", runs)
    run, _ = confirmed_run(finished.folder / "confirmation.json")
    (runs / run / WINDOW_LOSSES).unlink()
    for read in (
        lambda: runs_table(runs, json.loads((runs / "answered.json").read_text())["runs"]),
        lambda: read_runs(runs),
    ):
        with pytest.raises(InputError, match=rf"{run}.*{WINDOW_LOSSES}: not there.*Delete that run's folder"):
            read()


def test_a_protected_set_beyond_its_tolerance_is_not_confirmed(finished: Finished, tmp_path: Path) -> None:
    shutil.copytree(finished.study.parent, tmp_path / "copy")
    workspace = Workspace.load(tmp_path / "copy" / "study.yaml", tmp_path / "copy" / "home")
    folder = workspace.folder
    decision = TypeAdapter(CachedDecision).validate_json(folder.swarm_answer.read_bytes()).decision
    run, share = confirmed_run(folder.confirmation)
    base = json.loads((folder.runs / "answered.json").read_text())["runs"][0]
    found = []
    for protect in ({}, {"docs": 10.0}, {"docs": 0.0}):
        swarm = Recommendation(decision.question, replace(decision, protect=protect))
        found.append(confirm(workspace, swarm, base, run, share))
    free, loose, tight = found
    assert free.beyond == loose.beyond == max(free.observed["general"] - decision.question.tolerance, 0.0)
    assert tight.beyond == pytest.approx(free.observed["general"])
    assert not tight.confirmed
