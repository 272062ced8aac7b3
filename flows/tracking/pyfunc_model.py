"""The model that MLflow loads of a registered mix: this file and a JSON, copied next to each other.

It imports nothing of Mixlaw, so whoever trains needs only MLflow. MLflow runs it as a script ("models from
code"); nothing is pickled.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel  # type: ignore[attr-defined]


class Mix(PythonModel):
    """Token shares by domain, after so many training tokens."""

    def load_context(self, context: Any) -> None:
        self.mix = json.loads(Path(context.artifacts["mix"]).read_text(encoding="utf-8"))

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """A row of shares (they sum to 1) for every row of `model_input`, by its column `tokens`.

        `tokens` is how many training tokens have been seen; without that column, 0.
        """
        frame = pd.DataFrame(model_input)
        counts = frame["tokens"] if "tokens" in frame else [0] * max(len(frame), 1)
        stages = self.mix["stages"]
        rows = []
        for tokens in counts:
            now = next((s for s in reversed(stages) if s["from_token"] <= tokens), stages[0])
            rows.append({name: now["shares"].get(name, 0.0) for name in self.mix["domains"]})
        return pd.DataFrame(rows)


set_model(Mix())
