"""The demo's corpora: prose that is prose, code that is the same code."""

from __future__ import annotations

import ast
import errno
import gzip
import json
import os
import sysconfig
from pathlib import Path

import pytest

from flows.demo import text as demo_text
from flows.demo.prose import FUNCTION_WORDS, module_prose, paragraphs
from flows.demo.python import code_only
from flows.demo.text import collect
from mixing.corpora.documents import Source, documents
from mixing.corpora.left_out import Tally
from mixing.errors import MixlawError

DOCSTRING = """
    Compute the weighted mean of the samples, which is the usual estimate.

    Any :class:`~library.Array` is accepted, and so is a *list*. Use
    ``axis=None`` for all of them, see `the manual <https://example.org>`_.

    Parameters
    ----------
    x : array_like, shape (n,)
        The samples whose mean is to be computed.
    weights : array_like, optional
        One weight for every sample; by default they are equal.

    Returns:
        float: The mean, or None if there are no samples at all.

    ====== =======
    method seconds
    ====== =======
    fast   1.0
    ====== =======

    >>> mean([1, 2, 3])
    2.0

    The following is not shown, because it is an example::

        from library import mean
        mean(x for x in range(10) if x is not None and x in the_list)

    .. versionadded:: 1.2
       This text is inside of the directive and is not a part of the prose.

    - It is the first of the points that are to be made here.
    - See https://example.org for all of the others that there are.
"""


def test_prose_is_prose() -> None:
    assert list(paragraphs(DOCSTRING)) == [
        "Compute the weighted mean of the samples, which is the usual estimate.",
        "Any library.Array is accepted, and so is a list. Use axis=None for all of them, see the manual.",
        "The samples whose mean is to be computed.",
        "One weight for every sample; by default they are equal.",
        "The mean, or None if there are no samples at all.",
        "The following is not shown, because it is an example:",
        "It is the first of the points that are to be made here.",
    ]


def test_markdown_without_its_code() -> None:
    text = """# Title

[![badge](https://a/b.svg)](https://c)

This library does **one** thing, and [it](docs/it.md) does that well.

```python
for this in that: print("it is the code that is not to be read.")
```

| a | table |
|---|-------|
"""
    assert list(paragraphs(text)) == ["This library does one thing, and it does that well."]


def test_docstrings_of_a_module_in_order() -> None:
    docstring = DOCSTRING.replace("\n", "\n    ")
    source = f'''
"""The module {"that is documented at some length, as it is here. " * 4}"""
import this
if True:
    class A:
        """A class {"that is documented at some length, as it is here. " * 4}"""
        async def f(self):
            """Short."""
        def g(self):
            """{docstring}"""
add_newdoc("f", """A function {"that is documented at some length, as it is here. " * 4}""")
'''
    found = list(module_prose(source.encode()))
    starts = [text.split()[:2] for text in found]
    assert starts[:3] == [["The", "module"], ["A", "class"], ["Compute", "the"]]
    assert starts[-1] == ["A", "function"]
    assert list(module_prose(b'"""' + b"not python " * 100 + b'""" ==')) == []
    assert list(module_prose(b"x = 1\n")) == []


CODE = '''#!/usr/bin/env python
# A comment.
"""The docstring."""

import re  # another


class A:  # why
    """Gone."""

    x = "# not a comment"  # but this is


    def f(self): "gone"

    def g(self):
        """Gone.

        All of it."""
        # a comment
        y = """# stays


        as it is"""  # gone
        return y, 'it''s', r'\\'#'

    def h(self):
        r"""Gone."""; return f"{self.x}#"
'''
PLAIN = '''import re

class A:
    x = "# not a comment"

    def f(self): pass

    def g(self):
        y = """# stays


        as it is"""
        return y, 'it''s', r'\\'#'

    def h(self):
        pass; return f"{self.x}#"
'''


def test_code_without_comments_and_docstrings() -> None:
    assert code_only(CODE.replace("r'\\\\'#'", "r'#'").encode()) == PLAIN.replace("r'\\\\'#'", "r'#'")
    assert code_only(b"not python ==") is None
    assert code_only(b"text = '''" + b"a long text " * 100 + b"'''\n") is None
    assert code_only(b"# -*- coding: latin-1 -*-\nx = '\xe9'\n" + b"y = 1\n" * 9) is None
    assert code_only(b"\0") is None


def _statements(tree: ast.Module) -> str:
    """The tree without docstrings and `pass`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str):
                del node.body[0]
            node.body = [statement for statement in node.body if not isinstance(statement, ast.Pass)]
    return ast.dump(tree)


def test_the_code_of_the_standard_library_is_unchanged() -> None:
    checked = 0
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[::6]:
        source = path.read_bytes()
        code = code_only(source)
        if code is not None:
            assert _statements(ast.parse(code)) == _statements(ast.parse(source)), path
            checked += 1
    assert checked > 15


def test_collect_gives_two_corpora(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_text, "DOCS_BYTES", 500_000)
    monkeypatch.setattr(demo_text, "LEAST_DOCS_BYTES", 400_000)
    monkeypatch.setattr(demo_text, "SHARD_BYTES", 300_000)
    parts: list[float] = []
    collect(tmp_path / "one", parts.append)
    assert parts == sorted(parts)
    assert parts[-1] == 1

    tally = Tally()
    docs = list(documents(Source("docs", "general", (tmp_path / "one" / "docs",)), tally))
    python = list(documents(Source("python", "target", (tmp_path / "one" / "python",)), tally))
    assert (tally.empty, tally.invalid_utf8) == (0, 0)
    assert sum(document.size for document in docs) >= 500_000
    assert sum(document.size for document in python) > 2_000_000
    for document in docs:
        assert 400 <= len(document.text) <= 20_000
        words = document.text.lower().split()
        assert sum(word in FUNCTION_WORDS for word in words) > 0.15 * len(words)
        assert ">>>" not in document.text
        assert not any(line.startswith((" ", "def ", "import ")) for line in document.text.splitlines())
    for document in python[::10]:
        assert ast.get_docstring(ast.parse(document.text)) is None
    lines = gzip.decompress((tmp_path / "one" / "python" / "part-000.jsonl.gz").read_bytes()).splitlines()
    names = [json.loads(line)["source"] for line in lines]
    assert "argparse.py" in names
    assert not any(name.startswith(("/", "test/", "site-packages/")) or "/test" in name for name in names)

    # Collected once; what a killed run left is written again to the same bytes.
    content = {path: path.read_bytes() for path in (tmp_path / "one").rglob("*.gz")}
    stamps = {path: path.stat().st_mtime_ns for path in content}
    collect(tmp_path / "one")
    assert {path: path.stat().st_mtime_ns for path in content} == stamps
    (tmp_path / "one" / "collected.json").write_text("{")
    (tmp_path / "one" / "docs" / "part-999.jsonl.gz").write_bytes(b"left")
    monkeypatch.setattr(demo_text, "standard_library", lambda: iter([("a.py", "x = 1\n" * 400_000)]))
    collect(tmp_path / "one")
    docs_again = {path: path.read_bytes() for path in (tmp_path / "one" / "docs").iterdir()}
    assert docs_again == {path: value for path, value in content.items() if path.parent.name == "docs"}


def test_a_machine_with_too_little_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_text, "documentation", lambda: iter([("a.py", "The text. " * 50)]))
    with pytest.raises(
        MixlawError, match=r"packages hold 0\.0 MB of documentation, .* needs 4 MB.*mixlaw init DIR"
    ):
        collect(tmp_path)
    monkeypatch.setattr(demo_text, "LEAST_DOCS_BYTES", 100)
    monkeypatch.setattr(demo_text, "standard_library", lambda: iter([]))
    with pytest.raises(
        MixlawError, match=r"standard library holds 0\.0 MB of source code here, .* needs 2 MB"
    ):
        collect(tmp_path)
    assert not (tmp_path / "collected.json").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MixlawError, match=r"file/docs: cannot be written.*--out"):
        collect(tmp_path / "file")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(demo_text, "documentation", lambda: iter([("a.py", "The text. " * 50)]))
    with pytest.raises(MixlawError, match=r"part-000\.jsonl\.gz: cannot be written: No space left"):
        collect(tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.*"))
