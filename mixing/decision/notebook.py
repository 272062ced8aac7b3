"""A decision as small HTML tables, for notebooks: the answer first, then why, then the tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from mixing.decision import wording
from mixing.decision.record import DecisionRecord


def decision_html(decision: DecisionRecord) -> str:
    """The content of the terminal's screen: answer, why, warnings, losses, mixture, baselines, next runs."""
    parts = [
        f"<p><b>{escape(wording.answer_line(decision))}</b></p>",
        f"<p>{'<br>'.join(escape(line) for line in wording.facts(decision))}</p>",
    ]
    if why := wording.reasons(decision):
        parts.append(_listed("Why", why))
    if decision.warnings:
        parts.append(_listed("Warnings", decision.warnings))
    if decision.has_answer:
        rows = [increment.cells() for increment in wording.increments(decision)]
        parts.append(_table(wording.increment_title(decision), wording.INCREMENT_HEADER, rows, left=2))
        parts += [
            _mixture(decision),
            _table(wording.baselines_title(decision), *wording.baselines_table(decision)),
        ]
    if decision.next_runs:
        parts.append(_listed(wording.next_runs_title(decision), wording.next_run_lines(decision)))
    return f"<div>{''.join(parts)}</div>"


def _mixture(decision: DecisionRecord) -> str:
    intervals, estimate = decision.share_intervals, decision.estimate_shares
    ordered = sorted(decision.shares, key=lambda domain: -decision.shares[domain])
    rows = [
        (
            domain,
            f"{decision.shares[domain]:.3f}",
            *([f"{estimate.get(domain, 0.0):.3f}"] if estimate else []),
            *([wording.span(*intervals[domain])] if intervals else []),
        )
        for domain in ordered
    ]
    level = f"{decision.question.level:.0%} interval"
    header = (
        "domain",
        "share",
        *(["best estimate"] if estimate else []),
        *([level] if intervals else []),
    )
    return _table("Recommended mix (token shares)", header, rows)


def _table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A table whose first `left` columns are text and whose others are numbers."""

    def line(cells: Sequence[str], tag: str) -> str:
        sides = ["left" if place < left else "right" for place in range(len(cells))]
        marked = zip(sides, cells, strict=True)
        return "".join(f'<{tag} style="text-align: {side}">{escape(cell)}</{tag}>' for side, cell in marked)

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    caption = f'<caption style="text-align: left"><b>{escape(title)}</b></caption>'
    return f"<table>{caption}<tr>{line(header, 'th')}</tr>{body}</table>"


def _listed(title: str, lines: Iterable[str]) -> str:
    return f"<p><b>{escape(title)}</b></p><ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"
