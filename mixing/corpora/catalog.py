"""The catalogue of the corpora: documents, bytes, duplicates, flaws and fingerprints, counted in one pass.

Only digests (16 bytes a document) are stored, in a DuckDB file that may outgrow memory and is removed afterwards.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb
import polars as pl
from pydantic import TypeAdapter, ValidationError

from mixing.corpora.documents import Role, Source, check_split, contents, is_heldout, survey_source
from mixing.corpora.estimate import Estimate
from mixing.corpora.file_choice import hint_of_encoding
from mixing.corpora.files import Survey, shown
from mixing.corpora.html import is_html
from mixing.corpora.left_out import WARN_SHARE, Tally, share_left_out, words_left_out, words_no_data
from mixing.corpora.progress import ByteProgress, Report
from mixing.corpora.token_files import TokenDocument
from mixing.errors import InputError, MixlawError
from mixing.versions import check_version, version_in

VERSION = 1
BATCH = 1 << 16
"""Digests that wait in memory before they go to DuckDB."""
SCRATCH = ".catalog-"


@dataclass(frozen=True)
class DomainEntry:
    """One domain of the catalogue.

    `documents` are those with text (blank and invalid ones apart), `bytes` their UTF-8 size, `duplicates` how
    many of them repeat another one exactly, `heldout_documents` how many the split holds out. `fingerprint`
    hashes the texts in any order; `files_fingerprint` the files' names, sizes and times. Tokens
    (end-of-document tokens included) are None until the text is tokenised. Of a corpus of ids, `bytes` is the
    size of the ids. `left_out` says in words what of the corpus is not read, `left_out_share` how much that is (of its
    bytes or documents; None where an earlier version did not count it), `no_data` which files only tell about it.
    Where a sample was read, all counts are of it, and `whole` is what the corpus holds. `html` documents are HTML pages
    (None where an earlier version did not count them), the first one in file `html_example`.
    """

    name: str
    role: Role
    files: int
    file_bytes: int
    documents: int
    bytes: int
    duplicates: int
    empty: int
    invalid_utf8: int
    heldout_documents: int
    fingerprint: str
    files_fingerprint: str
    tokens: int | None = None
    mean_tokens_per_document: float | None = None
    left_out: tuple[str, ...] = ()
    left_out_share: float | None = None
    no_data: tuple[str, ...] = ()
    whole: Estimate | None = None
    html: int | None = None
    html_example: str = ""

    @property
    def whole_tokens(self) -> float | None:
        """Tokens of the whole corpus, where a sample of it was read and tokenised."""
        return (
            None if self.whole is None or self.tokens is None else self.tokens * self.whole.bytes / self.bytes
        )

    def warnings(self) -> Iterator[str]:
        """What of the corpus is left out, where it is more than a trace, what is blank, and what is markup."""
        if self.left_out and (self.left_out_share or 0.0) > WARN_SHARE:
            yield f"domain {self.name!r}: {self.left_out_share:.1%} of it is left out: {'; '.join(self.left_out)}"
        if self.empty > WARN_SHARE * (self.documents + self.empty):
            yield f"domain {self.name!r}: {self.empty:,} of {self.documents + self.empty:,} documents are blank"
        if self.html:
            yield (
                f"domain {self.name!r}: {self.html:,} of {self.documents:,} documents are HTML pages (first: "
                f"{self.html_example}), whose markup would be trained on as text: extract the text, unless it is meant"
            )


@dataclass(frozen=True)
class Overlap:
    """Number of distinct documents that two domains both hold, exactly."""

    domains: tuple[str, str]
    documents: int


@dataclass(frozen=True)
class Catalog:
    """The domains of a study, in its order, its own validation sets (`evals`), and what they all share.

    A file without a version has version 1.
    """

    heldout_fraction: float
    domains: tuple[DomainEntry, ...]
    shared: tuple[Overlap, ...] = ()
    version: int = VERSION
    evals: tuple[DomainEntry, ...] = ()

    def __getitem__(self, name: str) -> DomainEntry:
        return next(domain for domain in self.domains if domain.name == name)

    def warnings(self) -> tuple[str, ...]:
        """What of the corpora is left out, where it is more than a trace, and blank."""
        warnings = [warning for domain in (*self.domains, *self.evals) for warning in domain.warnings()]
        own = {entry.name: entry.documents for entry in self.evals}
        warnings += [
            f"validation set {second!r}: {shared.documents:,} of its {own[second]:,} documents are in {first} too, "
            "where they may be trained on"
            for shared in self.shared
            for first, second in (shared.domains,)
            if second in own and first not in own
        ]
        return tuple(warnings)

    def table(self) -> pl.DataFrame:
        """One row per domain, for people to read."""
        columns = [field.name for field in dataclasses.fields(DomainEntry)]
        return pl.DataFrame([asdict(domain) for domain in self.domains], infer_schema_length=None).select(
            columns
        )

    def to_json(self) -> str:
        """Indented JSON, which `from_json` reads."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "catalog") -> Catalog:
        """The catalogue in `to_json`'s text.

        Raises InputError, naming `where`, for any other text; NewerState for the text of a later mixlaw.
        """
        if (version := version_in(text, "version")) is not None:
            check_version(where, version, VERSION, "Delete it and run again: it is counted afresh")
        try:
            return _SCHEMA.validate_json(text)
        except ValidationError as error:
            fault = error.errors()[0]
            field = ".".join(str(step) for step in fault["loc"])
            raise InputError(
                f"{where} is not a catalogue ({field + ': ' if field else ''}{fault['msg']})",
                "Delete it and run again: it is counted afresh",
            ) from error


_SCHEMA = TypeAdapter(Catalog)


def scan(
    sources: Sequence[Source],
    heldout_fraction: float,
    *,
    scratch: Path | None = None,
    previous: Catalog | None = None,
    on_progress: Report | None = None,
    evals: Sequence[Source] = (),
) -> Catalog:
    """Read every corpus once and count it, the validation sets `evals` too.

    `scratch` is the folder for the temporary table (default: the system's). `previous` is returned as it is
    where no file, text field or held-out fraction changed since. Memory stays flat as the corpora grow.

    Raises InputError for two domains of one name, a domain without text or with nothing on one side of the
    split, and as `mixing.corpora.documents.documents`; MixlawError where the temporary table cannot be written.
    """
    corpora = [*sources, *evals]
    names = [source.name for source in corpora]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two domains are called {name!r}", "Give every domain its own name")
    surveys = [survey_source(source) for source in corpora]
    if previous is not None and _still_holds(previous, corpora, surveys, heldout_fraction):
        return previous

    with _digest_table(scratch) as table:
        progress = ByteProgress(on_progress, sum(survey.bytes for survey in surveys))
        domains = [
            _count(
                number, source, survey, heldout_fraction if number < len(sources) else 1.0, table, progress
            )
            for number, (source, survey) in enumerate(zip(corpora, surveys, strict=True))
        ]
        shared = tuple(
            Overlap((names[a], names[b]), count) for a, b, count in table.execute(_SHARED).fetchall()
        )
    progress.finish()
    counted = tuple(domains)
    return Catalog(heldout_fraction, counted[: len(sources)], shared, evals=counted[len(sources) :])


def with_tokens(catalog: Catalog, tokens: Mapping[str, int]) -> Catalog:
    """The catalogue with the token counts of its domains filled in (end-of-document tokens included)."""
    domains = tuple(
        dataclasses.replace(
            domain,
            tokens=tokens[domain.name],
            mean_tokens_per_document=tokens[domain.name] / domain.documents,
        )
        for domain in catalog.domains
    )
    return dataclasses.replace(catalog, domains=domains)


def _still_holds(
    catalog: Catalog, sources: Sequence[Source], surveys: Sequence[Survey], heldout_fraction: float
) -> bool:
    entries = (*catalog.domains, *catalog.evals)
    then = [(entry.name, entry.role, entry.files_fingerprint) for entry in entries]
    now = [
        (source.name, source.role, survey.fingerprint)
        for source, survey in zip(sources, surveys, strict=True)
    ]
    counted = all(entry.left_out_share is not None and entry.html is not None for entry in entries)
    return counted and then == now and catalog.heldout_fraction == heldout_fraction


def _count(
    number: int,
    source: Source,
    survey: Survey,
    heldout_fraction: float,
    table: duckdb.DuckDBPyConnection,
    progress: ByteProgress,
) -> DomainEntry:
    tally = Tally()
    count = size = heldout = tokens = html = 0
    html_example = ""
    digests: list[bytes] = []
    for document in contents(source, tally):
        count += 1
        size += document.size
        if isinstance(document, TokenDocument):
            tokens += len(document.ids) + 1
        elif is_html(document.text):
            html += 1
            html_example = html_example or shown(tally.reading or Path())
        heldout += is_heldout(document.digest, heldout_fraction)
        digests.append(document.digest)
        if len(digests) == BATCH:
            _insert(table, number, digests)
        progress.at(tally.bytes_read)
    _insert(table, number, digests)
    progress.next(survey.bytes)
    share = share_left_out(tally, count, survey.bytes)
    _check_text(source, survey, tally, count, share)
    if heldout_fraction < 1:
        check_split(source.name, count, heldout, heldout_fraction)
    distinct, fingerprint = _distinct(table, number)
    return DomainEntry(
        name=source.name,
        role=source.role,
        files=survey.files,
        file_bytes=survey.bytes,
        documents=count,
        bytes=size,
        duplicates=count - distinct,
        empty=tally.empty,
        invalid_utf8=tally.invalid_utf8,
        heldout_documents=heldout,
        fingerprint=fingerprint,
        files_fingerprint=survey.fingerprint,
        tokens=tokens or None,
        mean_tokens_per_document=tokens / count if tokens else None,
        left_out=words_left_out(tally),
        left_out_share=share,
        no_data=words_no_data(tally),
        whole=tally.whole,
        html=html,
        html_example=html_example,
    )


def _check_text(source: Source, survey: Survey, tally: Tally, count: int, share: float) -> None:
    """Raises InputError for a domain without text, and for one of which more is left out than it allows."""
    parts = words_left_out(tally)
    if count and share <= source.max_left_out:
        return
    hint = "Mend these files or name those that are meant (paths, format)"
    if tally.invalid_utf8:
        first = Path(tally.invalid_examples[0])
        hint += f", name their encoding ({hint_of_encoding(first)})"
    if count:
        raise InputError(
            f"domain {source.name!r}: {share:.1%} of it would be left out: {'; '.join(parts)}",
            f"{hint}, or allow it: max_left_out: {min(1.0, math.ceil(share * 100) / 100):g}",
        )
    places = ", ".join(shown(path) for path in source.paths)
    flaws = f"{survey.files} files, {tally.empty} blank documents, {tally.invalid_utf8} not UTF-8 text"
    raise InputError(
        f"domain {source.name!r} has no document with text in {places} ({'; '.join((flaws, *parts))})",
        "Put text there, or correct its paths" if not parts else hint,
    )


_SHARED = """
    WITH texts AS (SELECT domain, digest FROM digests GROUP BY ALL)
    SELECT a.domain, b.domain, count(*)
    FROM texts a JOIN texts b ON a.digest = b.digest AND a.domain < b.domain
    GROUP BY ALL ORDER BY ALL
"""


def _insert(table: duckdb.DuckDBPyConnection, number: int, digests: list[bytes]) -> None:
    batch = pl.DataFrame({"digest": digests}, schema={"digest": pl.Binary})
    table.register("batch", batch)
    table.execute("INSERT INTO digests SELECT ?, digest FROM batch", [number])
    table.unregister("batch")
    digests.clear()


def _distinct(table: duckdb.DuckDBPyConnection, number: int) -> tuple[int, str]:
    """How many different texts a domain holds, and the hash of all its digests in sorted order."""
    row = table.execute(
        "SELECT count(*) FROM (SELECT digest FROM digests WHERE domain = ? GROUP BY digest)", [number]
    ).fetchone()
    assert row is not None
    hashed = hashlib.sha256()
    rows = table.execute("SELECT digest FROM digests WHERE domain = ? ORDER BY digest", [number])
    while some := rows.fetchmany(BATCH):
        hashed.update(b"".join(digest for (digest,) in some))
    return int(row[0]), hashed.hexdigest()


@contextlib.contextmanager
def _digest_table(scratch: Path | None) -> Iterator[duckdb.DuckDBPyConnection]:
    with _scratch_folder(scratch or Path(tempfile.gettempdir())) as folder:
        try:
            with duckdb.connect(
                str(folder / "digests.duckdb"),
                config={"memory_limit": "512MB", "threads": 2, "temp_directory": str(folder / "spill")},
            ) as connection:
                connection.execute("CREATE TABLE digests (domain INTEGER, digest BLOB)")
                yield connection
        except duckdb.Error as error:
            raise MixlawError(
                f"{shown(folder)}: the catalogue's temporary table failed ({str(error).splitlines()[0]})",
                "Free some space there (about 40 bytes a document) and run again",
            ) from error


@contextlib.contextmanager
def _scratch_folder(parent: Path) -> Iterator[Path]:
    """A temporary folder; the next process removes one that a killed process left behind."""
    with contextlib.ExitStack() as cleanup:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            for other in parent.glob(f"{SCRATCH}*"):
                _remove_if_abandoned(other)
            folder = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=parent))
            cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
            # The kernel releases the lock however the process ends, so a folder without a lock is abandoned.
            lock = cleanup.enter_context(open(folder / "lock", "w"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise MixlawError(
                f"{shown(parent)}: cannot be written: {error.strerror or error}",
                "The catalogue needs a writable folder for a temporary table: set MIXLAW_HOME to one",
            ) from error
        yield folder


def _remove_if_abandoned(folder: Path) -> None:
    try:
        with open(folder / "lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return
