"""The steps of a study before any training, each resumable: catalogue, tokenizer, token store, run specs.

Plain functions of a study and its folder, so that `mixlaw catalog` and `mixlaw plan` need no Prefect.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.pipeline.plan import Plan, PlannedRun, estimated_supply, make_plan
from flows.settings import home
from flows.settings.home import StudyFolder
from flows.study.corpora import study_corpora
from flows.study.loading import load_study
from flows.study.models import BasePart, ProxiesPart, Study
from mixing.atomic import replace_files
from mixing.errors import InputError, MixlawError
from mixing.versions import NewerState

if TYPE_CHECKING:
    from mixing.corpora.catalog import Catalog
    from mixing.corpora.documents import Source
    from proxies.data.token_store import TokenStore
    from proxies.spec import ProxySpec

Report = Callable[[float, float], None]
"""Called with work done and work in all."""


@dataclass(frozen=True)
class Job:
    """A study and where it writes."""

    study: Study
    root: Path

    @classmethod
    def load(cls, study_file: Path | str, root: Path | None = None) -> Job:
        return cls(load_study(study_file), root or home.home())

    @cached_property
    def folder(self) -> StudyFolder:
        return StudyFolder.of(self.study.study, self.root)

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        return study_corpora(self.study)

    @property
    def tokenizer_path(self) -> Path | None:
        """None where the study's domains are ids and only their vocabulary is known."""
        given = self.study.tokenizer
        if given.file is not None:
            return self.study.path(given.file)
        return self.folder.tokenizer if given.train is not None else None

    @property
    def base_checkpoint(self) -> Path | None:
        given = self.study.base.checkpoint
        return None if given is None else self.study.path(given)

    def create_folder(self) -> None:
        """Raises MixlawError where the home cannot be written."""
        try:
            self.folder.path.mkdir(parents=True, exist_ok=True)
            self.folder.runs.mkdir(exist_ok=True)
        except OSError as error:
            raise MixlawError(
                f"{self.folder.path}: cannot be written ({error.strerror})",
                "Set MIXLAW_HOME to a folder that can",
            ) from error


def catalogue(job: Job, report: Report | None = None) -> Catalog:
    """What the corpora hold; counted again only where files changed. Written to `catalog.json`."""
    from mixing.corpora.catalog import Catalog, scan

    sources = job.sources
    job.create_folder()
    path = job.folder.catalog
    previous = None
    if path.exists():
        try:
            previous = Catalog.from_json(path.read_text(encoding="utf-8"), str(path))
        except NewerState:
            raise
        except InputError:
            previous = None  # damaged, or an older version's: counted afresh
    found = scan(
        sources,
        job.study.heldout.fraction,
        scratch=job.folder.path,
        previous=previous,
        on_progress=report,
    )
    if found != previous:
        replace_files({path: found.to_json().encode()})
    return found


def token_store(job: Job, catalog: Catalog, report: Report | None = None) -> TokenStore:
    """The tokenizer and the tokens of every domain, built or, where nothing changed, opened and verified."""
    from mixing.corpora.catalog import with_tokens
    from proxies.data.token_store import build
    from proxies.data.tokenizer import train_tokenizer

    train = job.study.tokenizer.train
    if train is not None:
        train_tokenizer(job.sources, catalog, train.vocab_size, job.folder.tokenizer)
    store = build(
        job.sources,
        job.tokenizer_path,
        job.folder.tokens,
        job.study.heldout.fraction,
        on_progress=report,
        eos=job.study.tokenizer.eos,
    )
    counted = with_tokens(
        catalog,
        {name: domain.train.tokens + domain.heldout.tokens for name, domain in store.domains.items()},
    )
    if counted != catalog:
        replace_files({job.folder.catalog: counted.to_json().encode()})
    return store


def supply_of(store: TokenStore) -> dict[str, int]:
    """Training tokens by domain."""
    return {name: domain.train.tokens for name, domain in store.domains.items()}


def plan_before_tokens(job: Job, catalog: Catalog) -> Plan:
    """The plan by the catalogue: exact where the text is tokenised, estimated from bytes where not."""
    from proxies.data.token_store import TokenStore

    try:
        store = TokenStore.open(job.folder.tokens, verify=False)
        supply = supply_of(store)
        if set(supply) == set(job.study.domains):
            return make_plan(job.study, supply)
    except (MixlawError, OSError):
        pass
    fraction = job.study.heldout.fraction
    supply = estimated_supply(fraction, {domain.name: domain.bytes for domain in catalog.domains})
    for domain in catalog.domains:
        if domain.tokens is not None:
            supply[domain.name] = round(domain.tokens * (1 - fraction))
    return make_plan(job.study, supply, estimated=True)


def base_spec(job: Job, store: TokenStore, planned: PlannedRun | None) -> ProxySpec:
    """The base model: its pre-training, or (`planned` None) the study's given checkpoint."""
    from proxies.spec import ProxySpec

    study = job.study
    if planned is not None:
        return _trained(job, store, planned, None, study.base)
    weights = job.base_checkpoint
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
        **_shared(job, store),
    )


def proxy_spec(job: Job, store: TokenStore, planned: PlannedRun, base: str) -> ProxySpec:
    """A continual pre-training run of the base run `base`."""
    return _trained(job, store, planned, base, job.study.proxies)


def _trained(
    job: Job,
    store: TokenStore,
    planned: PlannedRun,
    base: str | None,
    part: BasePart | ProxiesPart,
) -> ProxySpec:
    from proxies.spec import ProxySpec, log_budgets

    batch = part.batch_tokens or job.study.proxies.batch_tokens
    return ProxySpec(
        kind="base" if base is None else "proxy",
        mixture=planned.mixture,
        tokens=planned.tokens,
        budgets=log_budgets(planned.tokens, batch, job.study.proxies.checkpoints),
        batch_tokens=batch,
        learning_rate=part.learning_rate,
        warmup_steps=part.warmup_steps,
        seed=planned.seed,
        base=base,
        **_shared(job, store),
    )


def _shared(job: Job, store: TokenStore) -> dict[str, Any]:
    """What all runs of a study have in common."""
    study = job.study
    return {
        "depth": study.model.depth,
        "context": study.model.context,
        "vocab_size": store.vocab_size,
        "weight_decay": study.proxies.weight_decay,
        "study_seed": study.seed,
        "heldout_windows": study.heldout.windows,
        "max_epochs": {name: part.max_epochs for name, part in study.domains.items()},
        "data": store.fingerprints,
    }
