"""Looking at the corpora again: has anything changed that can move the published mix?

The corpora are compared with what they held when the newest version was published. Unchanged text costs a look
at its files; text that was touched is counted again; only a change that matters runs the study.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.pipeline.prepare import Job, catalogue
from flows.settings import home
from flows.tracking import corpus_snapshot as corpora_seen

if TYPE_CHECKING:
    from flows.pipeline.prepare import Report
    from flows.tracking.corpus_snapshot import Seen
    from mixing.corpora.catalog import Catalog
    from mixing.spec.model import MixSpec

TOKEN_CHANGE = 0.05
"""Share of a domain's tokens or documents that may change before the mix is asked for again."""


@dataclass(frozen=True)
class Last:
    """The newest version of the mix: its spec, the identity of the question it answers, and its corpora."""

    version: str
    spec: MixSpec
    question: str
    seen: Seen | None


@dataclass(frozen=True)
class Look:
    """What a look at the corpora found. `reasons` can move the answer (none: unchanged), `notes` cannot."""

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


def look(job: Job, token_change: float = TOKEN_CHANGE, report: Report | None = None) -> Look:
    """Scan the corpora and compare them with the last published mix.

    Raises InputError for bad corpora, MixlawError where MLflow does not answer.
    """
    catalog = catalogue(job, report)
    last = last_published(job)
    if last is None:
        return Look("", ("no mix has been published yet",), ())
    reasons: list[str] = []
    notes: list[str] = []
    if last.question != job.study.identity:
        reasons.append("the study file asks another question")
    reasons += _domains(job, last.spec)
    reasons += _tokenizer(job, last.spec)
    if last.seen is None:
        reasons.append(f"version {last.version} does not say what its corpora held")
    else:
        for name in job.study.domains:
            if name in last.spec.domains and name in last.seen.sketch:
                _compare(job, name, catalog, last, token_change, reasons, notes)
    return Look(last.version, tuple(reasons), tuple(notes))


def last_published(job: Job) -> Last | None:
    """The newest version of the study's mix in MLflow; None where there is none."""
    home.set_defaults(job.root)
    uri = home.tracking_uri(job.root)
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        return None
    from flows.tracking.client import QUESTION_TAG, fetch_spec
    from flows.tracking.registry import answering
    from mixing.spec.yaml_file import load_spec

    name = job.study.study
    with answering(name, uri) as client:
        versions = client.search_model_versions(f"name='{name}'", max_results=1000)
    if not versions:
        return None
    newest = max(versions, key=lambda version: int(version.version))
    with tempfile.TemporaryDirectory() as folder:
        path = fetch_spec(f"models:/{name}/{newest.version}", uri, Path(folder))
        spec, seen = load_spec(path), corpora_seen.load(path.with_name(corpora_seen.CORPORA_NAME))
    question = newest.tags.get(QUESTION_TAG) or spec.provenance.study_hash or ""
    return Last(str(newest.version), spec, question, seen)


def _domains(job: Job, spec: MixSpec) -> list[str]:
    now, then = job.study.domains, spec.domains
    said = [f"{name} is a new domain" for name in now if name not in then]
    said += [f"{name} is no domain any more" for name in then if name not in now]
    said += [
        f"{name} is {part.role} now, and was {then[name].role}"
        for name, part in now.items()
        if name in then and then[name].role != part.role
    ]
    return said


def _tokenizer(job: Job, spec: MixSpec) -> list[str]:
    """A tokenizer that the study trains follows its text; a given one may be another file now."""
    path = job.tokenizer_path
    if job.study.tokenizer.file is None or path is None:
        return []
    from proxies.data.tokenizer import tokenizer_hash

    known = {domain.tokenizer_hash for domain in spec.domains.values()} - {None}
    return [] if tokenizer_hash(path) in known else ["the tokenizer is another one"]


def _compare(
    job: Job,
    name: str,
    catalog: Catalog,
    last: Last,
    token_change: float,
    reasons: list[str],
    notes: list[str],
) -> None:
    """One domain: its tokens, its documents, and whether its cap still allows its share."""
    assert last.seen is not None
    now, then = catalog[name], last.seen.catalog[name]
    if now.fingerprint == then.fingerprint:
        growth, part = 0.0, 0.0
    else:
        # Tokens as before per byte: tokenising would cost more than the answer is worth.
        growth = now.bytes / then.bytes - 1
        source = next(source for source in job.sources if source.name == name)
        part = corpora_seen.changed_part(
            last.seen.sketch[name],
            corpora_seen.sketch_of(source),
            then.documents - then.duplicates,
            now.documents - now.duplicates,
        )
    if abs(growth) > token_change:
        reasons.append(f"{name}: {growth:+.1%} tokens, more than {token_change:.1%}")
    elif part > token_change:
        reasons.append(f"{name}: {part:.1%} of its documents changed, more than {token_change:.1%}")
    elif growth or part:
        notes.append(f"{name}: {growth:+.1%} tokens, {part:.1%} of documents changed")
    published = last.spec.domains[name]
    cap = job.study.domains[name].max_epochs
    if published.tokens is not None and published.epochs is not None:
        epochs = published.epochs / (1 + growth)
        if epochs > cap * (1 + 1e-9) and not published.epochs > published.max_epochs * (1 + 1e-9):
            reasons.append(f"{name}: the mix would read it {epochs:.2f} times, above its max_epochs {cap:g}")
