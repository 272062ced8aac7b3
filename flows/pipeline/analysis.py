"""From finished runs to the answer: fits, decision, confirmation, mix spec. Files in, files out."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from flows.pipeline.plan import Plan, PlannedRun, mixture
from flows.pipeline.prepare import Job, supply_of
from mixing.atomic import replace_files
from mixing.decision.question import Question
from mixing.decision.result import Decision
from mixing.errors import MixlawError
from mixing.runs.readers import ANSWERED
from mixing.runs.table import RunTable, make_table

if TYPE_CHECKING:
    from flows.pipeline.analysis_cache import LeftOut
    from mixing.fitting.report import FitReport
    from mixing.runs.increments import Increments
    from mixing.spec.model import MixSpec
    from proxies.data.token_store import TokenStore

CONFIRMED_DECIMALS = 3
"""The confirmation run's target share is rounded, so that a re-run asks for the very same run."""


@dataclass(frozen=True)
class Confirmation:
    """One held-out check: the run at the recommended share, which no fit has seen.

    `predicted` maps general and target to (increment, low, high) in nats; `observed` to the increment.
    """

    run: str
    target_share: float
    predicted: dict[str, tuple[float, float, float]]
    observed: dict[str, float]

    def inside(self, role: str) -> bool:
        _, low, high = self.predicted[role]
        return low <= self.observed[role] <= high


@dataclass(frozen=True)
class Answer:
    """What the runs say: the table they make, the laws, and the decision."""

    table: RunTable
    question: Question
    fits: FitReport
    decision: Decision
    left_out: list[LeftOut]


@dataclass(frozen=True)
class Observations:
    """For tables and figures (the columns are those of `mixing.plots.ratio`), in nats over the base model.

    `observed` has a row per run and checkpoint, `predicted` one per run and role; `base` the base's losses.
    """

    observed: pl.DataFrame
    predicted: pl.DataFrame
    base: dict[str, float]


PREDICTED = {
    "run": pl.String,
    "kind": pl.String,
    "eval": pl.String,
    "observed": pl.Float64,
    "predicted": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}


def runs_table(runs_dir: Path, run_ids: Sequence[str]) -> RunTable:
    """The table of these finished runs (base rows included)."""
    frames = [pl.read_parquet(losses_file(runs_dir, run)) for run in run_ids]
    return make_table(pl.concat(frames, how="diagonal_relaxed"), str(runs_dir))


def losses_file(runs_dir: Path, run: str) -> Path:
    return runs_dir / run / "losses.parquet"


def question_of(job: Job, supply: dict[str, int], table: RunTable) -> Question:
    """The study's question; validation sets are weighted as the sources are mixed, or as the study says."""
    from mixing.decision.question import make_question

    asked = job.study.decision
    return make_question(
        table,
        asked.general or job.study.composition("general", supply),
        asked.target or job.study.composition("target", supply),
        job.study.names("target"),
        tolerance=asked.tolerance,
        tokens=asked.tokens or int(table.rows["tokens"].max() or 0),  # type: ignore[arg-type]
        level=asked.level,
    )


def answer(job: Job, store: TokenStore, run_ids: Sequence[str]) -> Answer:
    """Fit and decide on these runs, and write `fits.json` and `decision.json`.

    The run store lists them, so that `mixlaw decide` on it answers from the same. Raises InputError or
    MixlawError as `mixing` does; a decision may be "not yet".
    """
    from flows.pipeline import analysis_cache as kept_answer
    from mixing.decision.critical_ratio.decider import decide, decision_json
    from mixing.fitting.fit import fit

    supply = supply_of(store)
    table = runs_table(job.folder.runs, run_ids)
    question = question_of(job, supply, table)
    total, budget = sum(supply.values()), target_tokens(job, question)
    max_shares = {n: job.study.domains[n].max_epochs * supply[n] / budget for n in supply}
    natural_shares = {name: count / total for name, count in supply.items()}
    key = kept_answer.key_of(
        [losses_file(job.folder.runs, run) for run in run_ids],
        (question, max_shares, natural_shares, job.study.seed),
    )
    _write_json(job.folder.runs / ANSWERED, {"runs": list(run_ids)})
    kept = kept_answer.load(job.folder.answer, key)
    if kept is None:
        losses = {"general": question.general, "target": question.target}
        fits = fit(table, losses, tokens=question.tokens, target_domains=question.target_domains)
        decision = decide(
            table, question, max_shares=max_shares, natural_shares=natural_shares, seed=job.study.seed
        )
        left_out = _left_out(decision, question.increments(table))
        kept = kept_answer.Kept.of(key=key, fits=fits, decision=decision, left_out=left_out)
        kept_answer.save(job.folder.answer, kept)
    fits, decision = kept.fits, kept.decision
    _write_json(job.folder.fits, fits.to_dict())
    _write_json(job.folder.decision, decision_json(decision))
    return Answer(table, question, fits, decision, kept.left_out)


def target_tokens(job: Job, question: Question) -> int:
    """Tokens of the run that the mix spec is for."""
    spec = job.study.spec
    return spec.total_tokens if spec is not None and spec.total_tokens else question.tokens


def confirmation_run(job: Job, supply: dict[str, int], decision: Decision, plan: Plan) -> PlannedRun | None:
    """The run at the recommended share; None where none is recommended or no confirmation is wanted."""
    wanted = plan.of_kind("confirmation")
    if not wanted or decision.critical_ratio is None or decision.status != "decided":
        return None
    share = round(decision.critical_ratio, CONFIRMED_DECIMALS)
    shares = mixture(job.study, supply, share)
    epochs = {name: part * wanted[0].tokens / max(supply[name], 1) for name, part in shares.items()}
    name = f"confirmation target={share:g}"
    return dataclasses.replace(wanted[0], name=name, target_share=share, mixture=shares, epochs=epochs)


def confirm(job: Job, given: Answer, base: str, run: str, target_share: float) -> Confirmation:
    """Score the decision's predictions against the confirmation run, and write `confirmation.json`."""
    table = runs_table(job.folder.runs, [base, run])
    observed, predicted = {}, {}
    for role, weights in (("general", given.question.general), ("target", given.question.target)):
        losses = table.weighted(weights).sort("tokens")
        before = float(losses.filter(pl.col("tokens") == 0)["loss"][0])
        observed[role] = float(losses["loss"][-1]) - before
        asked = given.decision.predicted[role]
        low, high = (bound - asked.loss + asked.increment for bound in asked.interval)
        predicted[role] = (asked.increment, low, high)
    found = Confirmation(run, target_share, predicted, observed)
    _write_json(job.folder.confirmation, dataclasses.asdict(found))
    return found


def observations(job: Job, given: Answer, base: str, confirmation: Confirmation | None) -> Observations:
    """What was observed, and how well the law had predicted it; the swarm's runs each left out in turn."""

    data = given.question.increments(given.table)
    frames = [data.observed().with_columns(kind=pl.lit("swarm"))]
    predicted: list[dict[str, Any]] = [
        {**dataclasses.asdict(found), "kind": "swarm", "low": None, "high": None} for found in given.left_out
    ]
    if confirmation is not None:
        table = runs_table(job.folder.runs, [base, confirmation.run])
        frames.append(given.question.increments(table).observed().with_columns(kind=pl.lit("confirmation")))
        predicted += [
            {
                "run": confirmation.run,
                "kind": "confirmation",
                "eval": role,
                "observed": confirmation.observed[role],
                "predicted": value,
                "low": low,
                "high": high,
            }
            for role, (value, low, high) in confirmation.predicted.items()
        ]
    return Observations(
        pl.concat(frames).select("run", "kind", "share", "tokens", "general", "target"),
        pl.DataFrame(predicted, schema=PREDICTED),
        data.base,
    )


def _left_out(decision: Decision, data: Increments) -> list[LeftOut]:
    """The law's predictions at the largest budget for every mixture that its fit had not seen."""
    from flows.pipeline import analysis_cache as kept_answer
    from mixing.fitting.cross_validation import held_out_predictions
    from mixing.laws import LAWS

    law = LAWS.get(decision.law)
    inside = data.points.interior()
    if law is None or not inside.any():
        return []
    if law.one_budget:
        inside &= data.points.tokens_n == data.points.tokens_n[inside].max()
    points = data.points.take(inside)
    losses_vn = np.stack([data.general_n[inside], data.target_n[inside]])
    found = held_out_predictions(law, points, losses_vn, "leave-mixture-out")
    if found is None:
        return []
    predicted_vn, mask_n = found
    runs = [run for run, kept in zip(data.runs_n, inside, strict=True) if kept]
    last_n = mask_n & (points.tokens_n == points.tokens_n.max())
    return [
        kept_answer.LeftOut(runs[at], role, float(losses_vn[v, at]), float(predicted_vn[v, at]))
        for v, role in enumerate(("general", "target"))
        for at in np.flatnonzero(last_n)
    ]


def mix_spec(job: Job, store: TokenStore, given: Answer, run_ids: Sequence[str]) -> MixSpec:
    """The mix spec of a decision, with the token files of the study's store."""
    from mixing.spec.build import DomainFacts, build_spec
    from mixing.spec.components import Provenance, Shard, package_versions

    study = job.study
    prefix = job.folder.tokens.name

    def shards(split: Any) -> tuple[Shard, ...]:
        return tuple(
            Shard(prefix=f"{prefix}/{shard.prefix}", tokens=shard.tokens) for shard in split.entry.shards
        )

    facts = {
        name: DomainFacts(
            role=study.domains[name].role,
            tokens=domain.train.tokens,
            documents=domain.train.documents,
            shards=shards(domain.train),
            heldout_shards=shards(domain.heldout),
            max_epochs=study.domains[name].max_epochs,
            tokenizer=None if job.tokenizer_path is None else str(job.tokenizer_path),
            tokenizer_hash=store.tokenizer_hash,
            dtype=store.dtype,  # type: ignore[arg-type]
        )
        for name, domain in store.domains.items()
    }
    return build_spec(
        given.decision,
        facts,
        name=study.study,
        total_tokens=target_tokens(job, given.question),
        seed=study.seed,
        sequence_length=study.spec.sequence_length if study.spec else None,
        global_batch_tokens=study.spec.global_batch_tokens if study.spec else None,
        data_root=job.folder.path,
        provenance=Provenance(
            study=study.study,
            study_hash=study.identity,
            data=store.fingerprints,
            versions=package_versions(),
            runs=tuple(run_ids),
        ),
    )


def spec_digest(spec: MixSpec) -> str:
    """Identifies what a spec says: its provenance (versions, MLflow run) aside."""
    content = spec.model_dump(mode="json", exclude={"provenance"})
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _write_json(path: Path, value: Any) -> None:
    text = value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False)
    replace_files({path: (text.rstrip("\n") + "\n").encode()})


def discard_other_answer(job: Job, confirmation: str) -> None:
    """Remove the files of an earlier answer before the run `confirmation` of this one is trained."""
    try:
        earlier = json.loads(job.folder.confirmation.read_bytes())["run"]
    except (OSError, ValueError, KeyError, TypeError):
        earlier = None
    if earlier != confirmation:
        discard_answer(job)


def discard_answer(job: Job) -> None:
    """Remove the files of an earlier answer: what lies there must never be of other runs than the newest."""
    try:
        for path in (job.folder.mixspec, job.folder.confirmation):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise MixlawError(f"{path}: cannot be removed ({error.strerror})", "Check the folder") from error
