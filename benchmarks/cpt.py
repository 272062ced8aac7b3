"""The public continual-pre-training runs and the published CMR numbers, against the bars we set ourselves.

    python -m benchmarks.cpt        (MIXLAW_BENCH_DATA names the folder of public tables; ../shared/data otherwise)

The mixture at target share 0.7148 is left out of every fit; its losses and the critical ratio are then predicted. Then
each interior mixture is left out in turn, with the law chosen by leaving out mixtures of the rest; and the second half
of all runs is predicted from the first.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import polars as pl

from mixing.arrays import Floats
from mixing.decision.decide import answer_question
from mixing.decision.question import make_question
from mixing.decision.record import Interval
from mixing.fitting.cross_validation import held_out_predictions
from mixing.fitting.engine import fit
from mixing.laws import CMR, CMR_MONOTONE, CMR_REPLAY, CMR_STEADY, LAWS, RATIO, Law
from mixing.laws.reference import cmr_law
from mixing.runs.increments import Increments
from mixing.runs.points import Points
from mixing.runs.read import read_runs
from mixing.runs.table import RunTable

TABLE_5 = {  # Gu et al. 2024 v2: a4, s4, b3, published CMR at T = 100
    "460M": (0.22524761, 0.26944345, -0.48139982, 0.298),
    "940M": (0.7520627, 0.13720245, -1.06581937, 0.349),
    "1.6B": (-2.36384831, -0.15125569, 1.59223649, 0.414),
    "3.1B": (-2.5368197, -0.42071423, 0.84375368, 0.478),
}
TABLE_2 = {  # target loss at 20B tokens for R = 3/4, 1/2, 1/3, and 1/4
    "460M": (1.4844, 1.5122, 1.5387, 1.5561),
    "940M": (1.3910, 1.4155, 1.4385, 1.4538),
    "1.6B": (1.3416, 1.3643, 1.3854, 1.3994),
    "3.1B": (1.2750, 1.2965, 1.3170, 1.3305),
}
LEFT_OUT = 0.71484375
STEP = 4096 * 256
"""Tokens per step of the public runs."""
SHARE_FORMS: tuple[Law, ...] = (CMR_MONOTONE, CMR, CMR_REPLAY)


def line(what: str, ours: str, bar: str = "", holds: bool | None = None) -> None:
    verdict = {None: "", True: "holds", False: "MISSED"}[holds]
    print(f"{what:<62} {ours:>24}   {bar:<24} {verdict}".rstrip())


def golden() -> None:
    for size, (a4, s4, b3, published) in TABLE_5.items():
        ratio = float(cmr_law(100.0, a4, s4, b3))
        line(
            f"Table 5, {size}: CMR at 20B tokens",
            f"{ratio:.4f}",
            f"{published} +- 0.001",
            abs(ratio - published) < 0.001,
        )
    ratios = np.array([0.75, 0.5, 1 / 3])
    codes = np.arange(3)
    points = Points(np.stack([1 - ratios, ratios], 1), ratios, np.full(3, 20e9), 20e9, codes, codes)
    for size, (*seen_losses, published) in TABLE_2.items():
        solution = fit(RATIO, points, np.array([seen_losses]), robust=False)[0]
        predicted = float(solution.predict(points.at(np.array([0.25]), np.array([20e9])))[0, 0])
        off = abs(predicted / published - 1)
        line(
            f"Table 2, {size}: target loss at R = 1/4",
            f"{predicted:.4f} ({off:.3%})",
            f"{published} +- 0.05%",
            off < 5e-4,
        )


def public_runs(folder: Path) -> None:
    table = read_runs(folder / "mixinglaws" / "ct.csv")
    weights = json.loads((folder / "mixinglaws" / "pile_weights.json").read_text())
    question = make_question(table, weights, {"python": 1.0}, tolerance=0.0)
    everything = question.increments(table)
    out = np.isclose(everything.points.target_n, LEFT_OUT)
    kept = everything.points.take(~out)
    end = everything.points.take(out & (everything.points.tokens_n == question.tokens))
    at_end = out & (everything.points.tokens_n == question.tokens)
    rows = {"general": everything.general_n, "target": everything.target_n}
    for name, bar in (("general", 0.0016), ("target", 0.0008)):
        for law in (LAWS["constant"], LAWS["linear"], CMR):
            solution = fit(law, kept, rows[name][~out][None, :])[0]
            error = abs(float(solution.predict(end)[0, 0] - rows[name][at_end][0]))
            what = f"{name} loss at step 10000, share 0.7148 left out, {law.name}"
            if law is CMR:
                line(what, f"{error:.5f} nats", f"<= {bar} nats", error <= bar)
            else:
                line(what, f"{error:.5f} nats")
    runs = {run for run, keep in zip(everything.runs_n, out, strict=True) if keep}
    for label, answer in (
        ("left out", answer_question(table.without(runs), question)),
        ("all runs", answer_question(table, question)),
    ):
        ratio, interval = answer.critical_ratio, answer.interval
        assert ratio is not None
        assert interval is not None
        line(
            f"critical ratio at tolerance 0, {label}",
            f"{ratio:.4f}",
            "in [0.714, 0.724]",
            0.714 <= ratio <= 0.724,
        )
        line(
            f"  its 90% interval, {label}",
            f"[{interval[0]:.4f}, {interval[1]:.4f}]",
            "has 0.720, width < 0.05",
            interval[0] <= 0.720 <= interval[1] and interval[1] - interval[0] < 0.05,
        )


def public_increments(folder: Path) -> tuple[RunTable, Increments, dict[str, float]]:
    table = read_runs(folder / "mixinglaws" / "ct.csv")
    weights = json.loads((folder / "mixinglaws" / "pile_weights.json").read_text())
    return table, make_question(table, weights, {"python": 1.0}).increments(table), weights


def left_out_error(law: Law, points: Points, losses_n: Floats) -> float:
    result = held_out_predictions(law, points, losses_n[None, :], "leave-mixture-out")
    assert result is not None
    predicted_vn, mask = result
    return float(np.abs(predicted_vn[0] - losses_n)[mask].mean())


def interior_errors(folder: Path) -> list[tuple[str, float, float, str]]:
    """Leave one interior mixture out, over all checkpoints; the form is chosen without it.

    Of each loss: its name, the error, our bar, and the peers' error.
    """
    _, data, _ = public_increments(folder)
    points = data.points
    inner = np.unique(points.target_n)[1:-1]
    rows = []
    for name, losses_n, bar, peer in (
        ("general", data.general_n, 0.0022, "exponential per step 0.0029"),
        ("target", data.target_n, 0.0013, "exponential per step 0.0016"),
    ):
        errors = []
        for share in inner:
            out = points.target_n == share
            kept = points.take(~out)
            law = min(SHARE_FORMS, key=lambda form: left_out_error(form, kept, losses_n[~out]))
            predicted_n = fit(law, kept, losses_n[None, ~out])[0].predict(points.take(out))[0]
            errors.append(np.abs(predicted_n - losses_n[out]).mean())
        rows.append((name, float(np.mean(errors)), bar, peer))
    return rows


def interior(folder: Path) -> None:
    """What `interior_errors` gives, and each form alone."""
    _, data, _ = public_increments(folder)
    for (name, error, bar, _), losses_n in zip(
        interior_errors(folder), (data.general_n, data.target_n), strict=True
    ):
        line(f"{name} loss, interior mixtures left out", f"{error:.5f} nats", f"<= {bar} nats", error <= bar)
        for law in SHARE_FORMS:
            line(
                f"  the same with {law.name} alone", f"{left_out_error(law, data.points, losses_n):.5f} nats"
            )


def later_error(law: Law, data: Increments, losses_n: Floats) -> float:
    early = data.points.tokens_n <= 5000 * STEP
    solution = fit(law, data.points.take(early), losses_n[None, early])[0]
    return float(np.abs(solution.predict(data.points.take(~early))[0] - losses_n[~early]).mean())


def later_errors(folder: Path) -> list[tuple[str, float, float]]:
    """Fit on steps up to 5000, predict 6000 to 10000 at all shares: of each loss its name, the error, and our bar."""
    _, data, _ = public_increments(folder)
    return [
        (name, later_error(CMR_STEADY, data, losses_n), bar)
        for name, losses_n, bar in (("general", data.general_n, 0.005), ("target", data.target_n, 0.004))
    ]


def later_ratio(folder: Path) -> tuple[float, Interval]:
    """The critical ratio at step 10000 from steps up to 5000."""
    table, _, weights = public_increments(folder)
    rows = table.rows.filter(pl.col("tokens") <= 5000 * STEP)
    question = make_question(table, weights, {"python": 1.0}, tokens=10_000 * STEP)
    answer = answer_question(RunTable(rows, table.source), question)
    assert answer.critical_ratio is not None
    assert answer.interval is not None
    return answer.critical_ratio, answer.interval


def later(folder: Path) -> None:
    """The second half of all runs from the first, and each form alone."""
    _, data, _ = public_increments(folder)
    for (name, error, bar), losses_n in zip(
        later_errors(folder), (data.general_n, data.target_n), strict=True
    ):
        what = f"{name} loss at steps 6000-10000 from steps to 5000"
        line(what, f"{error:.5f} nats", f"<= {bar} nats", error <= bar)
        for law in (CMR, CMR_MONOTONE):
            line(f"  the same with {law.name} alone", f"{later_error(law, data, losses_n):.5f} nats")
    ratio, interval = later_ratio(folder)
    line(
        "critical ratio at step 10000 from steps to 5000",
        f"{ratio:.4f} [{interval[0]:.3f}, {interval[1]:.3f}]",
        "within 0.02 of 0.720, inside",
        abs(ratio - 0.720) <= 0.02 and interval[0] <= 0.720 <= interval[1],
    )


def main() -> None:
    golden()
    folder = Path(os.environ.get("MIXLAW_BENCH_DATA", "../shared/data"))
    if not (folder / "mixinglaws" / "ct.csv").exists():
        sys.exit(f"{folder}: no public tables there; set MIXLAW_BENCH_DATA to their folder for the rest")
    public_runs(folder)
    interior(folder)
    later(folder)


if __name__ == "__main__":
    main()
