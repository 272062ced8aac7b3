"""A decision as small HTML tables, for notebooks: the answer first, then why, then the tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from mixing.decision import wording
from mixing.decision.record import DecisionRecord, Prediction


def decision_html(decision: DecisionRecord) -> str:
    """The content of the terminal's screen: answer, limits, tests, mixture, baselines, next runs, warnings."""
    parts = [*_answer(decision)]
    if decision.tests:
        parts.append(_listed("Feasibility tests", [wording.test_line(test) for test in decision.tests]))
    if decision.shares:
        parts += [_mixture(decision), _baselines(decision)]
    if decision.next_runs:
        parts.append(
            _listed("Most informative next runs", [wording.main_shares(mix) for mix in decision.next_runs])
        )
    if decision.warnings:
        parts.append(_listed("Warnings", decision.warnings))
    return f"<div>{''.join(parts)}</div>"


def _answer(decision: DecisionRecord) -> Iterable[str]:
    if decision.status == "not_yet":
        yield f"<p><b>{escape(wording.not_yet_line(decision))}</b><br>{escape(decision.reason or '')}</p>"
        return
    what = "Share of target tokens" if decision.share_intervals else "Critical ratio"
    lines = [f"limited by: {wording.limited_by(decision)}", wording.question_line(decision)]
    if decision.safe_ratio is not None:
        confidence = f"{decision.question.confidence:.0%}"
        lines.insert(0, f"safe ratio at {confidence} confidence: {decision.safe_ratio:.3f}")
    if decision.critical_ratio is not None:
        yield f"<p><b>{what} {escape(wording.ratio_line(decision))}</b></p>"
    yield "<p>" + "<br>".join(escape(line) for line in lines) + "</p>"


def _mixture(decision: DecisionRecord) -> str:
    level = f"{decision.question.level:.0%} interval"
    intervals = decision.share_intervals
    ordered = sorted(decision.shares, key=lambda domain: -decision.shares[domain])
    rows = [
        (d, f"{decision.shares[d]:.3f}", *((wording.span(*intervals[d]),) if intervals else ()))
        for d in ordered
    ]
    return _table(
        "Recommended mix (token shares)", ("domain", "share", *((level,) if intervals else ())), rows
    )


def _baselines(decision: DecisionRecord) -> str:
    roles = list(decision.by_role)

    def row(name: str, predicted: dict[str, Prediction]) -> tuple[str, ...]:
        return (name, *(wording.prediction_text(predicted.get(role)) for role in roles))

    rows = [row("recommended", decision.predicted)]
    rows += [row(baseline.name, baseline.predicted) for baseline in decision.baselines]
    return _table("Compared with common baselines: increments, nats per token", ("mix", *roles), rows)


def _table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><caption>{escape(title)}</caption><tr>{head}</tr>{body}</table>"


def _listed(title: str, lines: Iterable[str]) -> str:
    return f"<p><b>{escape(title)}</b></p><ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"
