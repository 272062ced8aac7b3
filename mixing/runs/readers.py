"""Read a runs table from its file layout: ours, wide, or a peer's. DuckDB opens the files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import duckdb
import polars as pl

from mixing.errors import InputError
from mixing.versions import RUNS, RUNS_OLDER, check_version, version_in

TOKENS_PER_STEP = 4096 * 256
"""One step of the tables of Ye et al. (2403.16952): 4096 tokens x 256 sequences."""

_DONE = "done.json"

ANSWERED = "answered.json"
"""Beside the finished runs of a study: `{"runs": [...]}`, those that its newest answer was fitted on."""


def read_layout(path: str) -> tuple[pl.DataFrame, list[str]]:
    """A tidy frame from any layout we know, and notes on what was left out of it.

    - a CSV or Parquet file: tidy, wide (`loss.<eval>`), mixinglaws (`weight_*`, `step`, `val_domain`, `loss`),
      or SlimPajama-like (`weight_*`, `model_size`, `n_tokens`, `<eval>_loss`)
    - `SHARES.csv,LOSSES.csv`: a pair joined by `index` or `run` (RegMix, olmix)
    - a folder of finished runs (`<run>/losses.parquet` beside `done.json`), or a folder with one such pair;
      of a study's runs those that its answer was fitted on, in that order (not the confirmation run)

    Raises InputError naming the file and what was expected.
    """
    try:
        return _layout(path)
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"{path}: not one of the layouts we know ({str(error).splitlines()[0]})",
            "See the layouts in docs/runs-table.md",
        ) from error


def _layout(path: str) -> tuple[pl.DataFrame, list[str]]:
    parts = [Path(p) for p in path.split(",")] if "," in path and not Path(path).exists() else [Path(path)]
    if len(parts) == 2:
        return _tidy(_pair(_open(parts[0]), _open(parts[1]), path), path), []
    if len(parts) != 1:
        raise InputError(f"{path}: {len(parts)} files named", "Name one table, or SHARES,LOSSES")
    if parts[0].is_dir():
        return _folder(parts[0])
    return _tidy(_open(parts[0]), path), []


def _open(path: Path) -> pl.DataFrame:
    if not path.exists():
        raise InputError(f"{path}: no such file or folder", "Check the path of the runs table")
    reader = "read_parquet" if path.suffix == ".parquet" else "read_csv"
    options = ", union_by_name => true" if reader == "read_parquet" else ", sample_size => -1"
    try:
        with duckdb.connect() as connection:
            query = f"SELECT * FROM {reader}($path{options})"
            frame: pl.DataFrame = connection.sql(query, params={"path": _literal(path)}).pl()
    except duckdb.Error as error:
        raise InputError(
            f"{path}: not a readable table ({str(error).splitlines()[0]})", "Give a CSV or Parquet file"
        ) from error
    if not frame.height:
        raise InputError(f"{path}: the table is empty", "Give a table with at least one row")
    return frame


def _literal(path: Path) -> str:
    """The path with what DuckDB would take for a wildcard escaped."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))


def _folder(folder: Path) -> tuple[pl.DataFrame, list[str]]:
    finished = sorted(p.parent.name for p in folder.glob(f"*/{_DONE}"))
    if finished:
        runs, notes = _answered(folder, finished)
        for run in runs:
            marker = folder / run / _DONE
            # Finished runs of other trainers may come without a version.
            if (version := version_in(marker.read_bytes(), "version")) is not None:
                check_version(marker, version, RUNS, RUNS_OLDER)
        paths = [_literal(folder / run / "losses.parquet") for run in runs]
        try:
            with duckdb.connect() as connection:
                # Rows stay in the order of the files, so that the study's own answer comes out to the digit.
                query = "SELECT * FROM read_parquet($paths, union_by_name => true)"
                frame: pl.DataFrame = connection.sql(query, params={"paths": paths}).pl()
        except duckdb.Error as error:
            raise InputError(
                f"{folder}: the losses.parquet of a finished run cannot be read ({str(error).splitlines()[0]})",
                "Delete that run's folder and train it again",
            ) from error
        return _tidy(frame, str(folder)), notes
    shares = [p for p in folder.glob("*.csv") if re.search(r"ratios|mixture", p.name)]
    losses = [p for p in folder.glob("*.csv") if re.search(r"metrics|loss", p.name)]
    if len(shares) == 1 and len(losses) == 1:
        return _tidy(_pair(_open(shares[0]), _open(losses[0]), str(folder)), str(folder)), []
    raise InputError(
        f"{folder}: neither finished runs (*/{_DONE}) nor one pair of share and loss tables",
        "Name the table, or the pair as SHARES.csv,LOSSES.csv",
    )


def _answered(folder: Path, finished: list[str]) -> tuple[list[str], list[str]]:
    """The finished runs to read, and notes: those that the study's answer was fitted on, where it says so."""
    listing = folder / ANSWERED
    if not listing.exists():
        return finished, []
    hint = "Delete it to read every finished run, or run the study again"
    try:
        listed = json.loads(listing.read_bytes())["runs"]
        wanted = [run for run in listed if run in finished]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{listing}: not a list of a study's runs ({error})", hint) from error
    if not wanted:
        raise InputError(f"{listing}: none of the runs that it names is finished", hint)
    notes = []
    if others := [run for run in finished if run not in wanted]:
        notes.append(
            f"{folder}: left out {_named(others)}, which the study's answer was not fitted on "
            f"(its confirmation, or of an earlier question; {ANSWERED} lists the others)"
        )
    if gone := [run for run in listed if run not in wanted]:
        notes.append(f"{folder}: {_named(gone)} of the study's answer not there; run the study again")
    return wanted, notes


def _named(runs: list[str]) -> str:
    count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    return f"{count} ({', '.join(runs[:3])}{', ...' if len(runs) > 3 else ''})"


def _pair(shares: pl.DataFrame, losses: pl.DataFrame, source: str) -> pl.DataFrame:
    key = next((k for k in ("run", "index") if k in shares.columns and k in losses.columns), None)
    if key is None:
        raise InputError(f"{source}: the two tables share no 'run' or 'index' column", "Add one to both")
    given, measured = _numeric(shares), _numeric(losses)
    left = shares.select(
        pl.col(key).cast(pl.String).alias("run"), *(pl.col(c).alias(f"share.{_short(c)}") for c in given)
    )
    right = losses.select(
        pl.col(key).cast(pl.String).alias("run"), *(pl.col(c).alias(f"loss.{_short(c)}") for c in measured)
    )
    if not given or not measured:
        raise InputError(f"{source}: no numeric share or loss column", "Name the share table first")
    both = left.join(right, on="run", how="inner")
    if not both.height:
        raise InputError(
            f"{source}: the two tables have no run in common", f"Make their {key!r} columns agree"
        )
    return both


def _numeric(frame: pl.DataFrame) -> list[str]:
    """Columns of numbers, without keys and the nameless row numbers that a data frame's index leaves."""
    keys = re.compile(r"run|index|name|column\d+|")
    return [c for c in frame.columns if frame[c].dtype.is_numeric() and not keys.fullmatch(c)]


def _short(column: str) -> str:
    """RegMix's `train_the_pile_arxiv` and `metric/the_pile_arxiv_val_loss` are both `arxiv`."""
    name = re.sub(r"^(train_|metric/)(the_pile_)?", "", column)
    return re.sub(r"_val_loss$", "", name)


def _tidy(frame: pl.DataFrame, source: str) -> pl.DataFrame:
    weights = [c for c in frame.columns if c.startswith("weight_")]
    if weights and not any(c.startswith("share.") for c in frame.columns):
        frame = _weights_layout(frame, weights, source)
    wide = [c for c in frame.columns if c.startswith("loss.")]
    if wide and "loss" not in frame.columns:
        frame = _long(frame, "loss", wide).join(
            _long(frame, "stderr", [c for c in frame.columns if c.startswith("stderr.")]).select(
                "_row", "eval", "stderr"
            ),
            on=["_row", "eval"],
            how="left",
            maintain_order="left",
        )
        frame = frame.drop("_row")
    return frame


def _long(frame: pl.DataFrame, value: str, columns: list[str]) -> pl.DataFrame:
    """Columns `VALUE.<eval>` as rows of (eval, VALUE); `_row` is the wide table's row."""
    kept = [c for c in frame.columns if not c.startswith(("loss.", "stderr."))]
    long = frame.with_row_index("_row").unpivot(
        on=columns, index=["_row", *kept], variable_name="eval", value_name=value
    )
    return long.with_columns(pl.col("eval").str.strip_prefix(f"{value}."))


def _weights_layout(frame: pl.DataFrame, weights: list[str], source: str) -> pl.DataFrame:
    names = {c: "share." + c.removeprefix("weight_") for c in weights}
    frame = frame.rename(names)
    sizes = pl.col("model_size") if "model_size" in frame.columns else pl.lit(None)
    if "val_domain" in frame.columns:
        numeric = frame.with_columns(_size(sizes).alias("params")) if "model_size" in frame.columns else frame
        run = (
            pl.concat_str("mix_id", pl.lit("@"), "model_size")
            if "model_size" in frame.columns
            else pl.col("mix_id")
        )
        return numeric.with_columns(
            run.alias("run"),
            (pl.col("step").cast(pl.Int64) * TOKENS_PER_STEP).alias("tokens"),
            pl.col("val_domain").alias("eval"),
        ).drop("model_size", "mix_id", "step", "val_domain", strict=False)
    losses = [c for c in frame.columns if c.endswith("_loss")]
    if not losses or "n_tokens" not in frame.columns:
        raise InputError(
            f"{source}: weight_* columns, but neither (step, val_domain, loss) nor (n_tokens, <eval>_loss)",
            "See the layouts in docs/runs-table.md",
        )
    mixture = pl.struct(
        [*names.values(), "model_size"] if "model_size" in frame.columns else [*names.values()]
    )
    return (
        frame.rename({c: "loss." + c.removesuffix("_loss") for c in losses})
        .with_columns(
            (pl.lit("mix") + mixture.rank("dense").cast(pl.String)).alias("run"),
            _size(sizes).alias("params"),
            pl.col("n_tokens").alias("tokens"),
        )
        .drop("model_size", "n_tokens", strict=False)
    )


def _size(column: pl.Expr) -> pl.Expr:
    """`70M` or `1.2B` or a number, as a number of parameters."""
    text = column.cast(pl.String)
    number = text.str.extract(r"^([0-9.eE+]+)").cast(pl.Float64)
    unit = text.str.extract(r"([KMB])$").replace_strict({"K": 1e3, "M": 1e6, "B": 1e9}, default=1.0)
    return (number * unit).round().cast(pl.Int64)
