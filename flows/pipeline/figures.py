"""The figures of a study's decision."""

from __future__ import annotations

from pathlib import Path

from flows.pipeline.result import StudyResult


def draw_figures(result: StudyResult) -> list[Path]:
    """Draw them as PNG files in the study's folder, afresh."""
    from mixing.plots.ratio import draw_all

    observations = result.observations
    return draw_all(
        result.analysis.decision,
        observations.observed,
        observations.predicted,
        result.workspace.folder.figures,
    )
