"""Twenty losses of a short training, as they were: a change of trainer, model or sampler that moves them shows.

They are the same on every machine to about 1e-6, with one thread. Where they are meant to move, raise
`ProxySpec.version` and write them again: `python -m tests.proxies.test_golden_losses`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl
import pytest
import torch

from proxies.progress import Progress
from proxies.runs import store as runs
from proxies.train import train
from tests.proxies.memory_store import memory_store, proxy_spec

GOLDEN = Path(__file__).parents[1] / "golden" / "losses" / "cpu.txt"
TOLERANCE = 1e-5
STEPS = 50
CHANGED = (
    "the losses of an unchanged spec have moved. If this is meant: raise ProxySpec.version, and write "
    f"{GOLDEN.name} again with `python -m tests.proxies.test_golden_losses`. If not: find what moved them"
)


def losses(folder: Path) -> list[tuple[str, float]]:
    """A base of two layers, and a proxy continued from it: training losses, then held-out losses, in nats."""
    store = memory_store(general=1, target=5)
    size = {"depth": 2, "batch_tokens": 128, "tokens": 128 * STEPS, "heldout_windows": 32}
    base = proxy_spec(store, **size)
    proxy = proxy_spec(store, **size, kind="proxy", base=base.run_id, mixture={"general": 0.4, "target": 0.6})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    training: list[Progress] = []
    try:
        train(base, folder / base.run_id, store)
        train(proxy, folder / proxy.run_id, store, folder / base.run_id / runs.WEIGHTS, training.append)
    finally:
        torch.set_num_threads(threads)
    of_steps = [(f"training step {at.step}", at.loss) for at in training if at.step % (STEPS // 10) == 0]
    table = pl.read_parquet(folder / proxy.run_id / runs.LOSSES).sort("tokens", "eval")
    rows = [row for row in table.iter_rows(named=True) if row["tokens"] > 0]
    return of_steps + [(f"{row['eval']} after {row['tokens']} tokens", row["loss"]) for row in rows[-10:]]


def as_text(trace: list[tuple[str, float]]) -> str:
    return "".join(f"{loss:.7f}  {name}\n" for name, loss in trace)


def test_losses_are_those_of_this_version(tmp_path: Path) -> None:
    trace = losses(tmp_path)
    golden = [line.split("  ", 1) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]
    assert len(golden) == 20
    assert [name for name, _ in trace] == [name for _, name in golden], CHANGED
    for (name, loss), (expected, _) in zip(trace, golden, strict=True):
        assert loss == pytest.approx(float(expected), abs=TOLERANCE, rel=0), f"{name}: {CHANGED}"


def test_the_trace_sees_a_small_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A learning rate that differs by a thousandth moves losses by more than the tolerance."""
    golden = [float(line.split()[0]) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]
    from proxies import schedules

    rate = schedules.learning_rate
    monkeypatch.setattr("proxies.train.learning_rate", lambda spec, step: 1.001 * rate(spec, step))
    assert max(abs(loss - old) for (_, loss), old in zip(losses(tmp_path), golden, strict=True)) > TOLERANCE


if __name__ == "__main__":
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        GOLDEN.write_text(as_text(losses(Path(scratch))), encoding="utf-8")
