"""The specs of a study's runs: everything that determines each of them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from flows.pipeline.heldout import windows_of
from flows.pipeline.plan import PlannedRun
from flows.pipeline.workspace import Workspace
from flows.study.parts import BasePart, ProxiesPart
from mixing.errors import InputError
from proxies.data.sampler import heldout_ids
from proxies.runs.store import done
from proxies.spec import ProxySpec, log_budgets

if TYPE_CHECKING:
    from proxies.data.token_store import TokenStore

FEWEST_OTHERS = 32
"""Held-out windows on which a confirmation tells something."""


def base_spec(workspace: Workspace, store: TokenStore, planned: PlannedRun | None) -> ProxySpec:
    """The base model: its pre-training, or (`planned` None) the study's given checkpoint."""
    study = workspace.study
    if planned is not None:
        return _trained(workspace, store, planned, None, study.base)
    weights = workspace.base_checkpoint
    assert weights is not None
    try:
        with open(weights, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            f"{study.file.name}: base.checkpoint: {weights} cannot be read ({error.strerror})",
            "Give the weights.pt of a base run",
        ) from error
    return ProxySpec(
        kind="base",
        mixture={},
        tokens=0,
        budgets=(),
        batch_tokens=study.proxies.batch_tokens,
        learning_rate=study.base.learning_rate,
        warmup_steps=0,
        seed=study.seed,
        base=digest,
        **_shared(workspace, store),
    )


def proxy_spec(workspace: Workspace, store: TokenStore, planned: PlannedRun, base: str) -> ProxySpec:
    """A continual pre-training run of the base run `base`."""
    return _trained(workspace, store, planned, base, workspace.study.proxies)


def confirmation_spec(workspace: Workspace, store: TokenStore, planned: PlannedRun, base: str) -> ProxySpec:
    """The same run measured on windows of held-out documents that the proxies were not measured on.

    On the proxies' windows where a domain has fewer than `FEWEST_OTHERS` of those, and where the run is done on these
    already, as version 0.1.0 did it: nothing is trained again.
    """
    same = proxy_spec(workspace, store, planned, base)
    if done(workspace.folder.runs / same.run_id) is not None:
        return same
    spec = ProxySpec.model_validate(same.model_dump() | {"heldout": "confirmation"})
    others = (len(heldout_ids(spec, name, domain.heldout).final) for name, domain in store.domains.items())
    return spec if min(others) >= FEWEST_OTHERS else same


def _trained(
    workspace: Workspace,
    store: TokenStore,
    planned: PlannedRun,
    base: str | None,
    part: BasePart | ProxiesPart,
) -> ProxySpec:
    batch = part.batch_tokens or workspace.study.proxies.batch_tokens
    return ProxySpec(
        kind="base" if base is None else "proxy",
        mixture=planned.mixture,
        tokens=planned.tokens,
        budgets=log_budgets(planned.tokens, batch, workspace.study.proxies.checkpoints),
        batch_tokens=batch,
        learning_rate=part.learning_rate,
        warmup_steps=part.warmup_steps,
        seed=planned.seed,
        base=base,
        pools=_pools(workspace, store, planned),
        **_shared(workspace, store),
    )


def _pools(workspace: Workspace, store: TokenStore, planned: PlannedRun) -> dict[str, int]:
    """The windows of the run's pools, where a domain has more."""
    context = workspace.study.model.context
    windows = {name: max(1, round(tokens / context)) for name, tokens in planned.pools.items()}
    return {
        name: count for name, count in windows.items() if count < store.domains[name].train.n_windows(context)
    }


def _shared(workspace: Workspace, store: TokenStore) -> dict[str, Any]:
    """What all runs of a study have in common."""
    study = workspace.study
    windows = windows_of(study)
    return {
        "depth": study.model.depth,
        "context": study.model.context,
        "vocab_size": store.vocab_size,
        "weight_decay": study.proxies.weight_decay,
        "study_seed": study.seed,
        "heldout_windows": windows.few,
        "final_windows": windows.last if windows.auto else None,
        "max_epochs": {name: part.max_epochs for name, part in study.domains.items()},
        "data": store.fingerprints,
        "evals": {name: store.evals[name].fingerprint for name in study.evals},
    }
