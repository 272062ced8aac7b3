"""Python source without its documentation: docstrings and comments taken out, the code as it was written."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

# In valid source a quote or a # means what it looks like unless it lies in one of these.
STRING = (
    r"'''(?:[^'\\]++|\\.|'(?!''))*+'''"
    r'|"""(?:[^"\\]++|\\.|"(?!""))*+"""'
    r"|'(?:[^'\\\n]++|\\.)*+'"
    r'|"(?:[^"\\\n]++|\\.)*+"'
)
STRINGS = re.compile(STRING.encode(), re.DOTALL)
COMMENTS = re.compile(rb"(" + STRING.encode() + rb")|(?:(?<=\n)|\A)[ \t]*#[^\n]*\n|[ \t]*#[^\n]*", re.DOTALL)
BLANK_LINES = re.compile(rb"(" + STRING.encode() + rb")|\n(?:[ \t\f]*\n){2,}", re.DOTALL)

MOST_IN_STRINGS = 0.4
"""Part of a module that may be strings; above it is a table or a text, not a program."""


def code_only(source: bytes) -> str | None:
    """The code of a module; None where it does not parse, is not UTF-8, or consists mostly of strings."""
    source = source.replace(b"\r\n", b"\n")
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return None
    source = COMMENTS.sub(rb"\1", _without_docstrings(source, tree))
    source = BLANK_LINES.sub(lambda match: match[1] or b"\n\n", source).strip() + b"\n"
    if sum(map(len, STRINGS.findall(source))) > MOST_IN_STRINGS * len(source):
        return None
    try:
        return source.decode()
    except UnicodeDecodeError:
        return None


def _without_docstrings(source: bytes, tree: ast.Module) -> bytes:
    lines: list[bytes | None] = [*source.split(b"\n"), None]
    for node in _blocks(tree):
        first = node.body[0] if node.body else None
        if not (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        ):
            continue
        start, end = first.lineno - 1, (first.end_lineno or first.lineno) - 1
        before = (lines[start] or b"")[: first.col_offset]
        after = (lines[end] or b"")[first.end_col_offset :]
        alone = not before.strip() and (not after.strip() or after.lstrip().startswith(b"#"))
        # A body needs a statement, and what shares the docstring's lines stays.
        keep = b"" if alone and (len(node.body) > 1 or isinstance(node, ast.Module)) else b"pass"
        lines[start] = before + keep + after if keep else None
        lines[start + 1 : end + 1] = [None] * (end - start)
        if not keep and not (lines[end + 1] or b"").strip():
            lines[end + 1] = None  # the blank line that set it off
    return b"\n".join(line for line in lines if line is not None)


def _blocks(tree: ast.Module) -> Iterator[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """What may have a docstring. Only statements are looked into: they alone hold definitions."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        children = ast.iter_child_nodes(node)
        pending.extend(
            child for child in children if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case)
        )
