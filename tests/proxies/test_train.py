"""The trainer: it learns, it resumes to the bit, it gives up with a reason."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mixing.errors import InputError
from proxies.checkpoint import load_checkpoint
from proxies.data.sampler import Sampler
from proxies.evaluate import evaluate, heldout_windows
from proxies.models.decoder import Decoder
from proxies.progress import Progress
from proxies.runs import store as runs
from proxies.spec import ProxySpec, log_budgets
from proxies.train import Diverged, train
from tests.proxies.memory_store import MemoryStore, memory_store, proxy_spec


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def store() -> MemoryStore:
    return memory_store()


@pytest.fixture(scope="module")
def base(store: MemoryStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished base run."""
    spec = proxy_spec(store, tokens=150 * 64, budgets=log_budgets(150 * 64, 64))
    folder = tmp_path_factory.mktemp("runs") / spec.run_id
    train(spec, folder, store)
    return folder


def continued(store: MemoryStore, base: Path, target: float = 0.5, **changes: object) -> ProxySpec:
    mixture = {"general": 1 - target, "target": target}
    return proxy_spec(store, kind="proxy", base=base.name, mixture=mixture, **changes)


class Killed(BaseException):
    """As if the process ended here."""


def kill_at(step: int) -> object:
    def report(at: Progress) -> None:
        if at.step == step:
            raise Killed

    return report


def test_a_base_run_learns_and_leaves_the_reference_of_every_increment(
    store: MemoryStore, base: Path
) -> None:
    losses = pl.read_parquet(base / runs.LOSSES)
    history = pl.read_parquet(base / runs.PRETRAINING)
    assert losses["tokens"].to_list() == [0, 0]
    assert losses["eval"].to_list() == ["general", "target"]
    assert losses.select(pl.col("^share.*$").is_null().all()).row(0) == (True, True)
    general = history.filter(pl.col("eval") == "general").sort("tokens")
    assert general["tokens"].to_list() == list(runs.read_spec(base).budgets)
    assert general["loss"][0] > 3
    assert general["loss"][-1] < 1.5
    assert general["loss"][-1] == losses["loss"][0]
    assert losses.schema["share.general"] == pl.Float64
    assert not (base / runs.CHECKPOINT).exists()
    record = runs.check_done(base)
    assert record["version"] == 1
    assert record["epochs"]["general"] == pytest.approx(600 / store.domains["general"].train.n_windows(16))
    assert record["tokens"] == 9600
    assert record["seconds"] > 0
    assert set(record["sha256"]) == {runs.LOSSES, runs.WINDOW_LOSSES, runs.PRETRAINING, runs.WEIGHTS}


def test_a_proxy_starts_from_its_base_and_reports_every_budget(
    store: MemoryStore, base: Path, tmp_path: Path
) -> None:
    spec = continued(store, base, target=0.75, tokens=60 * 64, budgets=log_budgets(60 * 64, 64))
    folder = tmp_path / spec.run_id
    seen: list[Progress] = []
    train(spec, folder, store, base / runs.WEIGHTS, seen.append)
    losses = pl.read_parquet(folder / runs.LOSSES)
    assert losses.columns == [
        "run", "share.general", "share.target", "params", "tokens", "seed", "eval", "loss", "stderr"
    ]  # fmt: skip
    assert losses["tokens"].unique().sort().to_list() == list(spec.budgets)
    assert len(spec.budgets) >= 8
    assert losses["share.target"].unique().to_list() == [0.75]
    before = pl.read_parquet(base / runs.LOSSES).filter(pl.col("eval") == "target")["loss"][0]
    after = losses.filter((pl.col("eval") == "target") & (pl.col("tokens") == spec.tokens))["loss"][0]
    assert after < before - 0.5
    assert not (folder / runs.WEIGHTS).exists()
    assert seen[-1].step == seen[-1].steps == 60
    assert seen[-1].tokens == spec.tokens
    assert seen[-1].eta_s == 0
    assert [at.step for at in seen] == list(range(1, 61))


def test_losses_are_of_the_fixed_windows_with_their_standard_error(store: MemoryStore, base: Path) -> None:
    spec = runs.read_spec(base)
    model = Decoder(spec)
    model.load_state_dict(torch.load(base / runs.WEIGHTS, weights_only=True)["model"])
    windows = heldout_windows(spec, store)
    tokens_wt = windows["general"].tokens_wt
    assert tokens_wt.shape == (8, 17)
    each = torch.stack([model.window_losses(window[None])[0] for window in tokens_wt]).double()
    found = evaluate(model, windows)["general"]
    assert found.numpy() == pytest.approx(each.numpy(), abs=1e-6)
    row = pl.read_parquet(base / runs.LOSSES).row(0, named=True)
    expected = (found.mean().item(), found.std().item() / math.sqrt(8))
    assert (row["loss"], row["stderr"]) == pytest.approx(expected, abs=1e-9)


def test_the_losses_of_single_windows_are_kept(store: MemoryStore, base: Path, tmp_path: Path) -> None:
    """Few windows at first, and all at the last budget; the losses of all rows are of all windows."""
    mixture = {"general": 0.25, "target": 0.75}
    spec = proxy_spec(
        store, kind="proxy", base=base.name, mixture=mixture, heldout_windows=4, final_windows=40, tokens=3840
    )
    folder = tmp_path / spec.run_id
    train(spec, folder, store, base / runs.WEIGHTS)
    windows = pl.read_parquet(folder / runs.WINDOW_LOSSES)
    count = windows.group_by("tokens", "eval").len().sort("tokens")["len"].to_list()
    # The domain has 63 windows, a third of which is for the confirmation.
    assert count == [4] * 2 * (len(spec.budgets) - 1) + [40] * 2
    few = set(windows.filter(tokens=spec.budgets[0], eval="target")["window"])
    assert few < set(windows.filter(tokens=spec.tokens, eval="target")["window"])
    last = pl.read_parquet(folder / runs.LOSSES).filter(tokens=spec.tokens, eval="target")["loss"][0]
    mean = windows.filter(tokens=spec.tokens, eval="target")["loss"].cast(pl.Float64).mean()
    assert last == pytest.approx(mean, abs=1e-6)
    assert runs.check_done(folder)["sha256"].keys() == {runs.LOSSES, runs.WINDOW_LOSSES}
    base_windows = pl.read_parquet(base / runs.WINDOW_LOSSES)
    assert base_windows["tokens"].unique().to_list() == [0]


def test_a_confirmation_is_measured_on_other_windows_and_its_base_with_it(
    store: MemoryStore, base: Path, tmp_path: Path
) -> None:
    mixture = {"general": 0.25, "target": 0.75}
    swarm = proxy_spec(store, kind="proxy", base=base.name, mixture=mixture, heldout_windows=8)
    spec = swarm.model_copy(update={"heldout": "confirmation"})
    folders = [tmp_path / one.run_id for one in (swarm, spec)]
    for one, folder in zip((swarm, spec), folders, strict=True):
        train(one, folder, store, base / runs.WEIGHTS)
    ours, theirs = (pl.read_parquet(folder / runs.WINDOW_LOSSES) for folder in reversed(folders))
    for name in ("general", "target"):
        mine = ours.filter(tokens=0, eval=name)["window"]
        assert mine.to_list() == ours.filter(tokens=spec.tokens, eval=name)["window"].to_list()
        assert not set(mine) & set(theirs.filter(eval=name)["window"])
    assert pl.read_parquet(folders[1] / runs.LOSSES)["tokens"].min() > 0  # type: ignore[operator]


@pytest.mark.parametrize("killed_at", [1, 7, 15])
def test_a_killed_run_continues_to_the_bit(
    store: MemoryStore, base: Path, tmp_path: Path, killed_at: int
) -> None:
    spec = continued(store, base)
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    whole: list[float] = []
    train(spec, straight, store, base / runs.WEIGHTS, lambda at: whole.append(at.loss))
    with pytest.raises(Killed):
        train(spec, broken, store, base / runs.WEIGHTS, kill_at(killed_at), checkpoint_seconds=0)
    assert runs.state(broken) == "partial"
    rest: list[float] = []
    train(spec, broken, store, base / runs.WEIGHTS, lambda at: rest.append(at.loss))
    assert rest == whole[killed_at:]
    assert (straight / runs.LOSSES).read_bytes() == (broken / runs.LOSSES).read_bytes()
    assert runs.state(broken) == "done"


def test_a_killed_base_ends_with_the_same_weights(store: MemoryStore, tmp_path: Path) -> None:
    spec = proxy_spec(store)
    train(spec, tmp_path / "straight", store)
    for step in (3, 9):
        with pytest.raises(Killed):
            train(spec, tmp_path / "broken", store, None, kill_at(step), checkpoint_seconds=0)
    train(spec, tmp_path / "broken", store)
    one, other = (
        torch.load(tmp_path / name / runs.WEIGHTS, weights_only=True)["model"]
        for name in ("straight", "broken")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


@given(cut=st.one_of(st.floats(0, 1), st.none()), at=st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_a_damaged_checkpoint_is_refused_whole(
    tmp_path_factory: pytest.TempPathFactory, cut: float | None, at: float
) -> None:
    """Cut short anywhere, or one bit flipped anywhere that matters."""
    store, folder = memory_store(train_tokens=1024), tmp_path_factory.mktemp("run")
    spec = proxy_spec(store)
    with pytest.raises(Killed):
        train(spec, folder, store, None, kill_at(2), checkpoint_seconds=0)
    path = folder / runs.CHECKPOINT
    good = load_checkpoint(path, spec)
    assert good is not None
    content = bytearray(path.read_bytes())
    if cut is not None:
        path.write_bytes(content[: int(cut * (len(content) - 1))])
        assert load_checkpoint(path, spec) is None
        return
    content[int(at * (len(content) - 1))] ^= 16
    path.write_bytes(content)
    found = load_checkpoint(path, spec)  # a flip in the zip's padding harms nothing
    assert found is None or all(
        torch.equal(found["model"][name], good["model"][name]) for name in good["model"]
    )


def test_a_run_with_a_damaged_checkpoint_starts_afresh_and_says_so(
    store: MemoryStore, base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = continued(store, base)
    train(spec, tmp_path / "straight", store, base / runs.WEIGHTS)
    with pytest.raises(Killed):
        train(spec, tmp_path / "broken", store, base / runs.WEIGHTS, kill_at(9), checkpoint_seconds=0)
    path = tmp_path / "broken" / runs.CHECKPOINT
    path.write_bytes(path.read_bytes()[:-1000])
    with caplog.at_level(logging.WARNING):
        train(spec, tmp_path / "broken", store, base / runs.WEIGHTS)
    assert "checkpoint.pt: unusable, the run starts from scratch" in caplog.text
    found, expected = ((tmp_path / name / runs.LOSSES).read_bytes() for name in ("broken", "straight"))
    assert found == expected


def test_an_infinite_learning_rate_ends_in_a_named_failure(
    store: MemoryStore, base: Path, tmp_path: Path
) -> None:
    spec = continued(store, base, learning_rate=1e30, warmup_steps=0)
    with pytest.raises(Diverged, match=r"target 0\.5\) diverged at step \d+ of 16: .*loss.* is nan") as error:
        train(spec, tmp_path / "run", store, base / runs.WEIGHTS)
    assert "Lower its learning rate (1e+30)" in error.value.hint
    assert runs.state(tmp_path / "run") == "failed"
    assert "is nan" in str(runs.failure(tmp_path / "run"))
    record = json.loads((tmp_path / "run" / runs.FAILED).read_text())
    assert (record["kind"], record["version"]) == ("divergence", 1)
    assert not (tmp_path / "run" / runs.LOSSES).exists()
    assert not (tmp_path / "run" / runs.CHECKPOINT).exists()


def test_a_loss_that_stays_far_above_its_start_is_a_divergence(
    store: MemoryStore, base: Path, tmp_path: Path
) -> None:
    spec = continued(
        store,
        base,
        target=0.0,
        learning_rate=3.0,
        warmup_steps=0,
        tokens=64 * 64,
        budgets=log_budgets(4096, 64),
    )
    with pytest.raises(Diverged, match=r"training loss rose from \d\.\d+ to \d"):
        train(spec, tmp_path / "run", store, base / runs.WEIGHTS)


def test_weights_that_break_at_the_last_step_are_noticed(
    store: MemoryStore, base: Path, tmp_path: Path
) -> None:
    """The last training loss is from before the last update: only the evaluation sees what it did."""
    spec = continued(store, base, learning_rate=1e300, warmup_steps=0, tokens=64, budgets=(64,))
    with pytest.raises(Diverged, match="held-out loss of 'general' is"):
        train(spec, tmp_path / "run", store, base / runs.WEIGHTS)


def test_a_given_base_is_evaluated_and_adopted(base: Path, tmp_path: Path) -> None:
    """A base of another study: other domains and held-out windows, the same tokenizer and size."""
    other = memory_store(mail=1, chat=7)
    spec = proxy_spec(
        other, base=runs.file_sha256(base / runs.WEIGHTS), mixture={}, tokens=0, budgets=(), study_seed=99
    )
    folder = tmp_path / spec.run_id
    train(spec, folder, other, base / runs.WEIGHTS)
    losses = pl.read_parquet(folder / runs.LOSSES)
    assert losses["eval"].to_list() == ["chat", "mail"]
    assert losses["tokens"].to_list() == [0, 0]
    assert losses["loss"][1] < 1.5 < losses["loss"][0]
    assert not (folder / runs.PRETRAINING).exists()
    proxy = proxy_spec(other, kind="proxy", base=spec.run_id, mixture={"mail": 0.5, "chat": 0.5})
    train(proxy, tmp_path / proxy.run_id, other, folder / runs.WEIGHTS)
    assert runs.state(tmp_path / proxy.run_id) == "done"


@pytest.mark.parametrize(
    ("changes", "store_changes", "message"),
    [
        ({"depth": 2}, {}, "these base weights have depth 1, the study 2"),
        ({"vocab_size": 62}, {"vocab_size": 62}, "these base weights have vocabulary 61, the study 62"),
        ({}, {"tokenizer_hash": "other"}, "these base weights have tokenizer a tokenizer, the study other"),
        ({"context": 32, "batch_tokens": 64}, {}, "trained on windows of 16 tokens, the study's are 32"),
        ({"base": "0" * 16}, {}, "not the base 0000000000000000 that the run names"),
    ],
)
def test_base_weights_that_do_not_fit_are_refused(
    base: Path, tmp_path: Path, changes: dict, store_changes: dict, message: str
) -> None:
    store = MemoryStore(memory_store().domains, **store_changes)
    spec = (
        continued(store, base, **changes)
        if "base" not in changes
        else proxy_spec(store, kind="proxy", **changes)
    )
    with pytest.raises(InputError, match=message):
        train(spec, tmp_path / "run", store, base / runs.WEIGHTS)
    assert not (tmp_path / "run" / runs.LOSSES).exists()


def test_weights_that_are_none_are_refused(store: MemoryStore, base: Path, tmp_path: Path) -> None:
    spec = continued(store, base)
    with pytest.raises(InputError, match="no weights of its base"):
        train(spec, tmp_path / "run", store)
    (tmp_path / "weights.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match=r"weights\.pt: not the weights of a base run"):
        train(spec, tmp_path / "run", store, tmp_path / "weights.pt")


def test_other_tokens_than_planned_are_refused(store: MemoryStore, tmp_path: Path) -> None:
    changed = memory_store(train_tokens=4096)
    with pytest.raises(InputError, match="the tokens of domain 'general' are not those"):
        train(proxy_spec(store), tmp_path / "run", changed)
    larger = MemoryStore(store.domains, vocab_size=64)
    with pytest.raises(InputError, match="planned for a vocabulary of 61, not 64"):
        train(proxy_spec(store), tmp_path / "other", larger)


def test_too_many_epochs_are_refused_before_training(store: MemoryStore, tmp_path: Path) -> None:
    spec = proxy_spec(store, max_epochs={"general": 0.1})
    with pytest.raises(InputError, match="over its max_epochs 0"):
        train(spec, tmp_path / "run", store, None, kill_at(1))


def test_a_refused_run_is_trained_once_its_cap_is_raised(store: MemoryStore, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(InputError, match="over its max_epochs"):
        train(proxy_spec(store, max_epochs={"general": 0.1}), folder, store)
    raised = proxy_spec(store, max_epochs={"general": 3.0})
    train(raised, folder, store)
    # A worker reads the spec from the folder, so it must be the one with the new cap.
    assert runs.read_spec(folder).max_epochs == {"general": 3.0}
    uncapped = proxy_spec(store, max_epochs={"general": 100.0})
    train(uncapped, tmp_path / "other", store)
    assert (folder / runs.LOSSES).read_bytes() == (tmp_path / "other" / runs.LOSSES).read_bytes()


def test_held_out_text_too_short_for_a_window_is_refused(tmp_path: Path) -> None:
    store = memory_store(heldout_tokens=20)
    with pytest.raises(InputError, match="held-out text holds 1 windows of 16 tokens"):
        train(proxy_spec(store), tmp_path / "run", store)


def test_weight_decay_spares_the_gains(store: MemoryStore) -> None:
    from proxies.train import Trainer

    spec = proxy_spec(store)
    groups = Trainer.start(spec, store, None).optimizer.param_groups
    assert [(group["weight_decay"], {p.ndim for p in group["params"]}) for group in groups] == [
        (0.1, {2}),
        (0.0, {1}),
    ]


def test_the_learning_rate_warms_up_and_then_stays(store: MemoryStore) -> None:
    from proxies.train import Trainer

    trainer = Trainer.start(proxy_spec(store), store, None)
    rates = []
    for _ in range(6):
        trainer.train_step()
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    np.testing.assert_allclose(rates, np.array([0.25, 0.5, 0.75, 1, 1, 1]) * 3e-3)


def test_training_tokens_are_those_of_the_sampler(store: MemoryStore, tmp_path: Path) -> None:
    """The first loss reported is that of the base on the first batch."""
    spec = proxy_spec(store)
    seen: list[float] = []
    train(spec, tmp_path / "run", store, None, lambda at: seen.append(at.loss))
    batch = torch.from_numpy(Sampler.of(spec, store).batch(0))
    assert seen[0] == pytest.approx(Decoder(spec).loss(batch).item(), abs=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator here")
def test_an_accelerator_trains_the_same_losses(store: MemoryStore, tmp_path: Path) -> None:
    spec = proxy_spec(store)
    for device in ("cpu", "cuda"):
        train(spec, tmp_path / device, store, device=device)
    cpu, cuda = (pl.read_parquet(tmp_path / name / runs.LOSSES)["loss"] for name in ("cpu", "cuda"))
    np.testing.assert_allclose(cuda, cpu, atol=1e-3)
