"""English prose out of documentation strings: their paragraphs without code, tables, fields and markup."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator

SHORTEST_DOCSTRING = 120
FEWEST_WORDS = 5
# Typical of English, and next to absent from code, signatures and lists of names.
FUNCTION_WORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "been",
        "by",
        "can",
        "do",
        "does",
        "each",
        "either",
        "for",
        "from",
        "has",
        "have",
        "how",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "may",
        "more",
        "must",
        "no",
        "not",
        "of",
        "on",
        "one",
        "only",
        "or",
        "other",
        "over",
        "should",
        "so",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "to",
        "used",
        "using",
        "was",
        "we",
        "when",
        "where",
        "whether",
        "which",
        "while",
        "will",
        "with",
        "would",
        "you",
        "your",
    ]
)
TRIPLE_QUOTED = re.compile(rb'"""(?:[^"\\]++|\\.|"(?!""))*+"""', re.DOTALL)
LEAST_DOCUMENTED = 0.2
"""Part of a module in triple quotes below which it is not worth parsing."""

ROLE = re.compile(r":[\w:+.-]+:`~?([^`<]*?)\s*(?:<[^`>]*>)?`")
LITERAL = re.compile(r"``([^`]*)``|`([^`<]*?)\s*(?:<[^`]*>)?`_{0,2}")
LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
HTML = re.compile(r"<[^<>\s][^<>]*>")
EMPHASIS = re.compile(r"(?<![\w*])\*{1,2}([^*\s](?:[^*]*[^*\s])?)\*{1,2}(?![\w*])")
# What a definition list defines: `x : array`, `x (int):`, `:param x:`, `Returns:`; its description stays.
TERM = re.compile(
    r"[\w*`., ]{1,60} : .*|:(?:param|type|arg|keyword|returns?|rtype|raises?|var|ivar)\b[^:]*:\s*"
    r"|\w+(?: \([^)]*\))?:(?:\s+|$)"
)
MARKUP = (
    ("`", ROLE, r"\1"),
    ("`", LITERAL, r"\1\2"),
    ("](", LINK, r"\1"),
    ("<", HTML, ""),
    ("*", EMPHASIS, r"\1"),
)
"""A character that it takes, the markup, and what is left of it."""
SIGNS = re.compile(r"[^a-zA-Z .,']")
BULLET = re.compile(r"^(?:[-*+•]|\d{1,2}[.)]|\(\w\))\s+")
RULE = re.compile(r"^[\s=\-~^\"'#*+_|:.<>`]*$")
REFERENCE = re.compile(r"^\.\.|^\[\d+\]_?|^\s*>>>|^\s*\.\.\. |^\s*\$ |^\s*@")
SENTENCE = re.compile(r"[a-z)\d'\"][.!?:](?:\s|$)")


def module_prose(source: bytes) -> Iterator[str]:
    """Paragraphs of the docstrings of a module, in their order; nothing for a module that does not parse."""
    if sum(map(len, TRIPLE_QUOTED.findall(source))) < LEAST_DOCUMENTED * len(source):
        return
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return
    for text in _docstrings(tree):
        if len(text) >= SHORTEST_DOCSTRING:
            yield from paragraphs(text)


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a docstring or a README that are prose, each on one line, without markup."""
    lines: list[str] = []
    skipped_indent: int | None = None
    fenced = False
    for raw in [*inspect.cleandoc(text).expandtabs().splitlines(), ""]:
        line = raw.strip()
        indent = len(raw) - len(raw.lstrip())
        if line.startswith(("```", "~~~")):
            fenced = not fenced
            line = ""
        elif fenced:
            line = ""
        if skipped_indent is not None and line:
            if indent > skipped_indent:
                continue  # the body of a directive or of a literal block
            skipped_indent = None
        term = TERM.match(line)
        if not line or term or RULE.match(line) or line.startswith("|") or BULLET.match(line):
            yield from _prose(lines)
            lines = []
        if term:
            line = line[term.end() :]
        if line.startswith(".. ") or line.endswith("::"):
            skipped_indent = indent
            if line.startswith(".. "):
                continue
        if line and not RULE.match(line):
            lines.append(line)
    yield from _prose(lines)


def _prose(lines: list[str]) -> Iterator[str]:
    """One paragraph, if it is prose."""
    if not lines or any(REFERENCE.search(line) for line in lines):
        return
    text = BULLET.sub("", " ".join(lines))
    for sign, markup, plain in MARKUP:
        if sign in text:
            text = markup.sub(plain, text)
    text = re.sub(r"\s+", " ", text).strip()
    text = text[:-1] if text.endswith("::") else text
    words = text.lower().split()
    if (
        len(words) < FEWEST_WORDS
        or text[0] == ":"
        or "://" in text
        or not SENTENCE.search(text)
        or not text.isascii()
    ):
        return
    if len(SIGNS.findall(text)) > 0.12 * len(text):
        return
    if sum(map(FUNCTION_WORDS.__contains__, words)) >= 0.15 * len(words):
        yield text


def _docstrings(tree: ast.Module) -> Iterator[str]:
    """Docstrings of the module and its classes and functions, and those added by calls (numpy, torch)."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            first = body[0] if body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                yield first.value.value
            pending.extend(reversed([child for child in body if isinstance(child, _NESTING)]))
        elif isinstance(node, ast.If | ast.Try):
            pending.extend(reversed([child for child in node.body if isinstance(child, _NESTING)]))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            for argument in node.value.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value


_NESTING = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.If, ast.Try, ast.Expr)
