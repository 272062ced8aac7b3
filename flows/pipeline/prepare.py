"""A study's text before any training, in resumable steps: catalogue, tokenizer, token store.

Plain functions of a workspace, so that `mixlaw catalog` and `mixlaw plan` need no Prefect.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from flows.pipeline.plan import Plan, check_target_run, estimated_supply, make_plan
from flows.pipeline.workspace import Workspace
from mixing.atomic import replace_files
from mixing.errors import InputError, MixlawError
from mixing.versions import NewerState

if TYPE_CHECKING:
    from mixing.corpora.catalog import Catalog
    from proxies.data.token_store import TokenStore

Report = Callable[[float, float], None]
"""Called with work done and work in all."""


def catalogue(workspace: Workspace, report: Report | None = None) -> Catalog:
    """Count what the corpora hold, again only where files changed, and write `catalog.json`.

    Raises InputError for missing or unreadable text, MixlawError where the home cannot be written.
    """
    from mixing.corpora.catalog import Catalog, scan

    sources = workspace.sources
    workspace.create_folder()
    path = workspace.folder.catalog
    previous = None
    if path.exists():
        try:
            previous = Catalog.from_json(path.read_text(encoding="utf-8"), str(path))
        except NewerState:
            raise
        except InputError:
            previous = None  # damaged, or an older version's: counted afresh
    catalog = scan(
        sources,
        workspace.study.heldout.fraction,
        scratch=workspace.folder.path,
        previous=previous,
        on_progress=report,
        evals=workspace.evals,
    )
    if catalog != previous:
        replace_files({path: catalog.to_json().encode()})
    return catalog


def corpus_warnings(workspace: Workspace) -> tuple[str, ...]:
    """What of the corpora is left out, by the catalogue that is there; nothing where none is."""
    from mixing.corpora.catalog import Catalog

    path = workspace.folder.catalog
    try:
        catalog = Catalog.from_json(path.read_text(encoding="utf-8"), str(path))
    except (OSError, InputError, NewerState):
        return ()
    return catalog.warnings()


def token_store(workspace: Workspace, catalog: Catalog, report: Report | None = None) -> TokenStore:
    """The tokenizer and the tokens of every domain: built or, where nothing changed, opened and verified."""
    from mixing.corpora.catalog import with_tokens
    from proxies.data.token_store import build
    from proxies.data.tokenizer import train_tokenizer

    train = workspace.study.tokenizer.train
    if train is not None:
        train_tokenizer(workspace.sources, catalog, train.vocab_size, workspace.folder.tokenizer)
    store = build(
        workspace.sources,
        workspace.tokenizer_path,
        workspace.folder.tokens,
        workspace.study.heldout.fraction,
        on_progress=report,
        eos=workspace.study.tokenizer.eos,
        evals=workspace.evals,
    )
    counted = with_tokens(
        catalog,
        {name: domain.train.tokens + domain.heldout.tokens for name, domain in store.domains.items()},
    )
    if counted != catalog:
        replace_files({workspace.folder.catalog: counted.to_json().encode()})
    return store


def supply_of(store: TokenStore) -> dict[str, int]:
    """Training tokens by domain of the whole corpora: estimated where the store holds a sample."""
    whole = {name: entry.whole for name, entry in store.manifest.domains.items()}
    return {name: round(domain.train.tokens * whole[name]) for name, domain in store.domains.items()}


def at_hand(store: TokenStore) -> dict[str, int]:
    """Training tokens by domain in the store."""
    return {name: domain.train.tokens for name, domain in store.domains.items()}


def plan_before_tokens(workspace: Workspace, catalog: Catalog) -> Plan:
    """The plan by the catalogue: exact where the text is tokenised, estimated from bytes where not.

    Raises InputError for a target run that the caps on repetition leave no mixture.
    """
    from proxies.data.token_store import TokenStore

    try:
        store = TokenStore.open(workspace.folder.tokens, verify=False)
        supply, here = supply_of(store), at_hand(store)
        known = set(supply) == set(workspace.study.domains) and set(store.evals) == set(workspace.study.evals)
    except (MixlawError, OSError):
        known = False
    if known:
        return _checked_plan(workspace, catalog, supply, here, estimated=False)
    fraction = workspace.study.heldout.fraction
    here = estimated_supply(fraction, {domain.name: domain.bytes for domain in catalog.domains})
    supply = dict(here)
    for domain in catalog.domains:
        if domain.tokens is not None:
            here[domain.name] = round(domain.tokens * (1 - fraction))
        times = 1.0 if domain.whole is None else domain.whole.bytes / domain.bytes
        supply[domain.name] = round(here[domain.name] * times)
    return _checked_plan(workspace, catalog, supply, here, estimated=True)


def _checked_plan(
    workspace: Workspace, catalog: Catalog, supply: dict[str, int], here: dict[str, int], estimated: bool
) -> Plan:
    check_target_run(workspace.study, supply, estimated)
    plan = make_plan(workspace.study, supply, estimated, here)
    return replace(plan, warnings=(*plan.warnings, *catalog.warnings()))
