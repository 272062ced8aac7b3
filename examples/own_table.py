"""How much German can a model of English web text be trained on? The answer from a table of your own runs.

    python examples/own_table.py

The table beside this file has six runs of two sources, each evaluated at six checkpoints, and the base model at
tokens 0. Columns: docs/runs-table.md.
"""

from pathlib import Path

import mixlaw as ml

TABLE = Path(__file__).with_suffix(".csv")


def main(out: Path = Path("own-table")) -> None:
    runs = ml.read_runs(TABLE)

    # Which law describes the German loss best? The one with the least error on runs left out of its fit.
    fits = ml.fit(runs, "german")
    print(f"law of the German loss: {fits.chosen['german']}")

    # How far may the web loss rise over the base model? Here 0.02 nats per token.
    answer = ml.decide(runs, general="web", target="german", tolerance=0.02)
    print(answer)

    # Draw the evidence, and write the mix of a run of 20B tokens for Hugging Face's interleave_datasets.
    out.mkdir(exist_ok=True)
    answer.plot().savefig(out / "critical-ratio.png")
    spec = answer.to_spec("web-german", total_tokens=20e9)
    ml.export(spec, to="huggingface", out=out / "mix.json")


if __name__ == "__main__":
    main()
