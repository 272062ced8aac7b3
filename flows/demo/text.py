"""The demo's two corpora, taken from what any machine that runs Mixlaw already holds.

General: English documentation prose, from the docstrings and the package descriptions of the installed
dependencies. Target: the source code of Python's standard library, without its docstrings and comments.
Nothing is imported or downloaded.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path

from flows.demo.prose import module_prose, paragraphs
from flows.demo.python import code_only
from mixing.atomic import replace_files
from mixing.errors import MixlawError

VERSION = 1
MARKER = "collected.json"

DOCS_BYTES = 10_200_000
"""Prose that is enough; the packages after it are not read."""
LEAST_DOCS_BYTES = 4_000_000
LEAST_PYTHON_BYTES = 2_000_000
PYTHON_BYTES = 6_500_000
"""About what a standard library holds, for the estimate of progress."""

SHORTEST_DOCUMENT = 400
LONGEST_DOCUMENT = 12_000
"""Characters of prose in one document; more makes several."""
SHARD_BYTES = 3_000_000

WELL_DOCUMENTED = (
    *("scipy", "numpy", "scikit-learn", "networkx", "SQLAlchemy", "pandas", "polars", "matplotlib"),
    *("sympy", "mlflow-skinny", "mlflow", "torch", "prefect"),
)
"""Read first: most prose per second. The other dependencies follow by name."""
NOT_DOCUMENTATION = {"tests", "test", "testing", "_vendor", "vendor", "_vendored", "licenses", "node_modules"}
NOT_PROGRAMS = {
    "tests",
    "test",
    "idle_test",
    "site-packages",
    "dist-packages",
    "__pycache__",
    "encodings",
    "pydoc_data",
}

Text = tuple[str, str]
"""Where a document is from (relative to its library), and its text."""


def collect(out: Path, on_progress: Callable[[float], None] | None = None) -> None:
    """Write `out/docs` and `out/python` as JSON Lines (`source`, `text`), unless they are there already.

    The same installation gives the same files. `on_progress` is called with the part that is done, 0 to 1.
    Raises MixlawError where the machine holds too little text, or `out` cannot be written.
    """
    marker = out / MARKER
    if _read_version(marker) == VERSION:
        return
    report = on_progress or (lambda part: None)
    total = DOCS_BYTES + PYTHON_BYTES
    docs = _write(
        out / "docs", documentation(), lambda done: report(min(done, DOCS_BYTES) / total), DOCS_BYTES
    )
    if docs < LEAST_DOCS_BYTES:
        raise MixlawError(
            f"the installed packages hold {docs / 1e6:.1f} MB of documentation, the demo needs "
            f"{LEAST_DOCS_BYTES / 1e6:.0f} MB",
            "Install mixlaw with its dependencies, or run a study on your own text: mixlaw init DIR",
        )
    python = _write(
        out / "python", standard_library(), lambda done: report(min((DOCS_BYTES + done) / total, 1.0))
    )
    if python < LEAST_PYTHON_BYTES:
        raise MixlawError(
            f"Python's standard library holds {python / 1e6:.1f} MB of source code here, the demo needs "
            f"{LEAST_PYTHON_BYTES / 1e6:.0f} MB",
            "Use a Python with its sources, or run a study on your own text: mixlaw init DIR",
        )
    replace_files(
        {marker: json.dumps({"version": VERSION, "docs_bytes": docs, "python_bytes": python}).encode()}
    )
    report(1.0)


def documentation() -> Iterator[Text]:
    """English prose of the installed dependencies, each paragraph once."""
    seen: set[str] = set()
    for distribution in _dependencies():
        for path in sorted(distribution.files or (), key=str):
            if NOT_DOCUMENTATION.isdisjoint(path.parts) and path.suffix in (".py", ".md", ".rst"):
                try:
                    content = Path(str(path.locate())).read_bytes()
                except OSError:
                    continue
                prose = module_prose(content) if path.suffix == ".py" else _plain(content)
                yield from _prose_documents(path.as_posix(), prose, seen)
        fields = distribution.metadata
        described = paragraphs(fields["Description"] or "" if "Description" in fields else "")
        yield from _prose_documents(f"{distribution.name} description", described, seen)


def standard_library() -> Iterator[Text]:
    """Code of the modules of the standard library, one document each."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in NOT_PROGRAMS)
        for name in sorted(files):
            if not name.endswith(".py") or name.startswith("_sysconfigdata"):
                continue
            path = Path(folder, name)
            try:
                code = code_only(path.read_bytes())
            except OSError:
                continue
            if code is not None and len(code) >= SHORTEST_DOCUMENT:
                yield path.relative_to(root).as_posix(), code


def _plain(content: bytes) -> Iterator[str]:
    return paragraphs(content.decode("utf-8", "replace"))


def _prose_documents(name: str, prose: Iterable[str], seen: set[str]) -> Iterator[Text]:
    """The paragraphs of one file as documents of a sensible length, without those in `seen`."""
    document: list[str] = []
    size = 0
    for paragraph in prose:
        if paragraph in seen:
            continue
        seen.add(paragraph)
        document.append(paragraph)
        size += len(paragraph) + 2
        if size >= LONGEST_DOCUMENT:
            yield name, "\n\n".join(document) + "\n"
            document, size = [], 0
    if size >= SHORTEST_DOCUMENT:
        yield name, "\n\n".join(document) + "\n"


def _dependencies() -> list[metadata.Distribution]:
    """What mixlaw requires, directly or not; everything that is installed where that is not recorded."""
    installed = {_key(distribution.name): distribution for distribution in metadata.distributions()}
    needed: set[str] = set()
    pending = ["mixlaw"]
    while pending:
        name = pending.pop()
        if name in needed or name not in installed:
            continue
        needed.add(name)
        required = (text for text in installed[name].requires or () if "extra ==" not in text)
        pending.extend(_key(re.split(r"[^\w.-]", text, maxsplit=1)[0]) for text in required)
    first = [_key(name) for name in WELL_DOCUMENTED]
    chosen = sorted(needed - {"mixlaw"} or set(installed))
    return [
        installed[name]
        for name in [*first, *(name for name in chosen if name not in first)]
        if name in chosen
    ]


def _key(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _write(
    folder: Path, texts: Iterable[Text], report: Callable[[int], None], enough: int | None = None
) -> int:
    """Write shards of JSON Lines until there is enough text; return its bytes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.iterdir():
            left.unlink()
    except OSError as error:
        raise MixlawError(
            f"{folder}: cannot be written ({error.strerror})", "Name a folder with --out"
        ) from error
    lines: list[bytes] = []
    done = waiting = shards = 0
    reported = 0.0
    for source, text in texts:
        lines.append(json.dumps({"source": source, "text": text}, ensure_ascii=False).encode() + b"\n")
        done += len(text.encode())
        waiting += len(text)
        if time.monotonic() - reported > 0.2:
            reported = time.monotonic()
            report(done)
        if waiting >= SHARD_BYTES:
            _write_shard(folder, shards, lines)
            lines, waiting, shards = [], 0, shards + 1
        if enough and done >= enough:
            break
    if lines:
        _write_shard(folder, shards, lines)
    return done


def _write_shard(folder: Path, number: int, lines: list[bytes]) -> None:
    packed = io.BytesIO()
    # Without a time, so that the same text gives the same bytes.
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=3, mtime=0) as file:
        file.writelines(lines)
    replace_files({folder / f"part-{number:03d}.jsonl.gz": packed.getvalue()})


def _read_version(marker: Path) -> object:
    try:
        return json.loads(marker.read_bytes()).get("version")
    except (OSError, ValueError, AttributeError):
        return None
