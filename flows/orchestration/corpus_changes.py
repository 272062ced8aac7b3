"""Looking at the corpora again: has anything changed that can move the published mix?

The corpora are compared with what they held when the newest version was published. Unchanged text costs a look
at its files; text that was touched is counted again; only a change that matters runs the study.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.pipeline.prepare import catalogue
from flows.pipeline.workspace import Workspace
from flows.settings.environment import set_defaults, tracking_uri
from flows.tracking import corpus_snapshot

if TYPE_CHECKING:
    from flows.pipeline.prepare import Report
    from flows.tracking.corpus_snapshot import CorpusSnapshot
    from mixing.corpora.catalog import Catalog
    from mixing.spec.model import MixSpec

TOKEN_CHANGE = 0.05
"""Share of a domain's tokens or documents that may change before the mix is asked for again."""


@dataclass(frozen=True)
class PublishedMix:
    """The newest version of the mix: its spec, the identity of the question it answers, and its corpora."""

    version: str
    spec: MixSpec
    question: str
    snapshot: CorpusSnapshot | None


@dataclass(frozen=True)
class CorpusDiff:
    """How the corpora differ from those of the published mix.

    `reasons` can move the answer (none: unchanged), `notes` cannot.
    """

    version: str
    reasons: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def changed(self) -> bool:
        return bool(self.reasons)

    def sentence(self) -> str:
        """What changed and why that matters, or that nothing did."""
        if self.changed:
            return "; ".join(self.reasons)
        since = f"unchanged since version {self.version}"
        return since + (f" ({'; '.join(self.notes)})" if self.notes else "")


def compare_with_published(
    workspace: Workspace, token_change: float = TOKEN_CHANGE, report: Report | None = None
) -> CorpusDiff:
    """Scan the corpora and compare them with the last published mix.

    Raises InputError for bad corpora, MixlawError where MLflow does not answer.
    """
    catalog = catalogue(workspace, report)
    published = published_mix(workspace)
    if published is None:
        return CorpusDiff("", ("no mix has been published yet",), ())
    reasons: list[str] = []
    notes: list[str] = []
    if published.question != workspace.study.identity:
        reasons.append("the study file asks another question")
    reasons += _domains(workspace, published.spec)
    reasons += _tokenizer(workspace, published.spec)
    if published.snapshot is None:
        reasons.append(f"version {published.version} does not say what its corpora held")
    else:
        for name in workspace.study.domains:
            if name in published.spec.domains and name in published.snapshot.sketch:
                _compare(workspace, name, catalog, published, token_change, reasons, notes)
    return CorpusDiff(published.version, tuple(reasons), tuple(notes))


def published_mix(workspace: Workspace) -> PublishedMix | None:
    """The newest version of the study's mix in MLflow; None where there is none."""
    set_defaults(workspace.root)
    uri = tracking_uri(workspace.root)
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        return None
    from flows.tracking.mix_versions import fetch_spec
    from flows.tracking.records import QUESTION_TAG
    from flows.tracking.registry import answering
    from mixing.spec.yaml_file import load_spec

    name = workspace.study.study
    with answering(name, uri) as client:
        versions = client.search_model_versions(f"name='{name}'", max_results=1000)
    if not versions:
        return None
    newest = max(versions, key=lambda version: int(version.version))
    with tempfile.TemporaryDirectory() as folder:
        path = fetch_spec(f"models:/{name}/{newest.version}", uri, Path(folder))
        spec, snapshot = load_spec(path), corpus_snapshot.load(path.with_name(corpus_snapshot.CORPORA_NAME))
    question = newest.tags.get(QUESTION_TAG) or spec.provenance.study_hash or ""
    return PublishedMix(str(newest.version), spec, question, snapshot)


def _domains(workspace: Workspace, spec: MixSpec) -> list[str]:
    now, then = workspace.study.domains, spec.domains
    reasons = [f"{name} is a new domain" for name in now if name not in then]
    reasons += [f"{name} is no domain any more" for name in then if name not in now]
    reasons += [
        f"{name} is {part.role} now, and was {then[name].role}"
        for name, part in now.items()
        if name in then and then[name].role != part.role
    ]
    return reasons


def _tokenizer(workspace: Workspace, spec: MixSpec) -> list[str]:
    """A tokenizer that the study trains follows its text; one that it names may be another file now."""
    path = workspace.tokenizer_path
    if workspace.study.tokenizer.file is None or path is None:
        return []
    from proxies.data.tokenizer import tokenizer_hash

    hashes = {domain.tokenizer_hash for domain in spec.domains.values()} - {None}
    return [] if tokenizer_hash(path) in hashes else ["the tokenizer is another one"]


def _compare(
    workspace: Workspace,
    name: str,
    catalog: Catalog,
    published: PublishedMix,
    token_change: float,
    reasons: list[str],
    notes: list[str],
) -> None:
    """One domain: its tokens, its documents, and whether its cap still allows its share."""
    assert published.snapshot is not None
    now, then = catalog[name], published.snapshot.catalog[name]
    if now.fingerprint == then.fingerprint:
        growth, part = 0.0, 0.0
    else:
        # Tokens as before per byte: tokenising would cost more than the answer is worth.
        growth = now.bytes / then.bytes - 1
        source = next(source for source in workspace.sources if source.name == name)
        part = corpus_snapshot.changed_part(
            published.snapshot.sketch[name],
            corpus_snapshot.sketch_of(source),
            then.documents - then.duplicates,
            now.documents - now.duplicates,
        )
    if abs(growth) > token_change:
        reasons.append(f"{name}: {growth:+.1%} tokens, more than {token_change:.1%}")
    elif part > token_change:
        reasons.append(f"{name}: {part:.1%} of its documents changed, more than {token_change:.1%}")
    elif growth or part:
        notes.append(f"{name}: {growth:+.1%} tokens, {part:.1%} of documents changed")
    domain = published.spec.domains[name]
    cap = workspace.study.domains[name].max_epochs
    if domain.tokens is not None and domain.epochs is not None:
        epochs = domain.epochs / (1 + growth)
        if epochs > cap * (1 + 1e-9) and not domain.epochs > domain.max_epochs * (1 + 1e-9):
            reasons.append(f"{name}: the mix would read it {epochs:.2f} times, above its max_epochs {cap:g}")
