"""The shortest study file, and loading what it says with changes."""

from __future__ import annotations

from pathlib import Path

from flows.study.loading import load_study
from flows.study.models import Study

GOOD = """\
study: code
domains:
  docs: {role: general, paths: corpora/docs}
  python: {role: target, paths: [corpora/python], max_epochs: 3}
model: {depth: 2, context: 64}
base: {tokens: 2e6}
proxies: {tokens: 0.5M, target_shares: [0.5, 0.25]}
decision: {tolerance: 0.0}
"""


def load(tmp_path: Path, text: str) -> Study:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return load_study(path)
