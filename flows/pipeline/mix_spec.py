"""The mix spec of a study's decision, with the token files of its store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flows.pipeline.analysis import Analysis
from flows.pipeline.prepare import supply_of
from flows.pipeline.workspace import Workspace

if TYPE_CHECKING:
    from mixing.spec.model import MixSpec
    from proxies.data.token_store import TokenStore


def mix_spec(workspace: Workspace, store: TokenStore, analysis: Analysis, run_ids: Sequence[str]) -> MixSpec:
    """The mix spec of a decision. `run_ids` are all runs behind it, for its provenance."""
    from mixing.spec.build import DomainFacts, build_spec
    from mixing.spec.components import Provenance, Shard, package_versions

    study = workspace.study
    prefix = workspace.folder.tokens.name

    def shards(split: Any) -> tuple[Shard, ...]:
        return tuple(
            Shard(prefix=f"{prefix}/{shard.prefix}", tokens=shard.tokens) for shard in split.entry.shards
        )

    real = study.real_supply(supply_of(store))
    # A part of the corpus is not what the run is to read: where the whole of it lies, its owner adds.
    whole = {name: real[name] == domain.train.tokens for name, domain in store.domains.items()}
    facts = {
        name: DomainFacts(
            role=study.domains[name].role,
            tokens=real[name],
            documents=max(1, round(domain.train.documents * real[name] / domain.train.tokens)),
            shards=shards(domain.train) if whole[name] else (),
            heldout_shards=shards(domain.heldout),
            max_epochs=study.domains[name].max_epochs,
            tokenizer=None if workspace.tokenizer_path is None else str(workspace.tokenizer_path),
            tokenizer_hash=store.tokenizer_hash,
            dtype=store.dtype,  # type: ignore[arg-type]
        )
        for name, domain in store.domains.items()
    }
    return build_spec(
        analysis.decision,
        facts,
        name=study.study,
        total_tokens=study.target_run_tokens,
        seed=study.seed,
        sequence_length=study.spec.sequence_length if study.spec else None,
        global_batch_tokens=study.spec.global_batch_tokens if study.spec else None,
        data_root=workspace.folder.path,
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
