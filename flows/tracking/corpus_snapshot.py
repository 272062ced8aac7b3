"""What the corpora held when a mix was published, small enough to be kept with it: a catalogue and a sketch.

The sketch of a corpus is the K documents whose hashes are smallest, a uniform sample that two corpora share as
far as they share documents. So a text that was replaced is noticed even where its size stayed.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import TypeAdapter, ValidationError

from mixing.corpora.catalog import Catalog
from mixing.corpora.documents import Source, contents
from mixing.corpora.left_out import Tally
from mixing.errors import InputError

if TYPE_CHECKING:
    from flows.pipeline.workspace import Workspace

SIZE = 1024
"""Documents of a sketch. A corpus of which 5% changed is measured to within about 1%."""
CORPORA_NAME = "corpora.json"


@dataclass(frozen=True)
class CorpusSnapshot:
    """The catalogue, and by domain the sketch: the smallest hashes (16 hex digits), ascending."""

    catalog: Catalog
    sketch: Mapping[str, Sequence[str]]
    version: Literal[1] = 1


_SCHEMA = TypeAdapter(CorpusSnapshot)


def sketch_of(source: Source) -> list[str]:
    """Reads the corpus once, in little memory. Raises as `mixing.corpora.documents.contents`."""
    smallest: set[bytes] = set()
    bound = b"\xff" * 9
    for document in contents(source, Tally()):
        # The first 8 bytes of a hash decide the held-out split; the others are as good as new.
        digest = document.digest[8:]
        if digest < bound:
            smallest.add(digest)
        if len(smallest) == 4 * SIZE:
            smallest = set(heapq.nsmallest(SIZE, smallest))
            bound = max(smallest)
    return [digest.hex() for digest in sorted(smallest)[:SIZE]]


def changed_part(
    before: Sequence[str], now: Sequence[str], documents_before: int, documents_now: int
) -> float:
    """The larger of the share of old documents that are gone and of new ones, of the documents before.

    Exact where both corpora fit into their sketches.
    """
    both = len(before) < SIZE and len(now) < SIZE
    union = sorted({*before, *now})
    union = union if both else union[:SIZE]
    if not union:
        return 0.0
    common = set(before) & set(now)
    jaccard = sum(digest in common for digest in union) / len(union)
    shared = jaccard * (documents_before + documents_now) / (1 + jaccard)
    largest = max(documents_before, documents_now)
    return max(0.0, largest - shared) / max(documents_before, 1)


def save(workspace: Workspace, folder: Path) -> None:
    """Write `corpora.json` to `folder`: the study's catalogue, and a sketch of every corpus."""
    catalog = Catalog.from_json(
        workspace.folder.catalog.read_text(encoding="utf-8"), str(workspace.folder.catalog)
    )
    sketch = {source.name: sketch_of(source) for source in workspace.sources}
    text = json.dumps(asdict(CorpusSnapshot(catalog, sketch)), ensure_ascii=False)
    (folder / CORPORA_NAME).write_text(text + "\n", encoding="utf-8")


def load(path: Path) -> CorpusSnapshot | None:
    """None where there is none, or another version's."""
    try:
        return _SCHEMA.validate_json(path.read_bytes())
    except (OSError, ValidationError, InputError):
        return None
