"""Pairs of tables: which columns are domains and losses, and which are named instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixing.errors import InputError
from mixing.runs.read import read_runs
from mixing.runs.table import RunTable

SHARES = {"a": (0.5, 0.3, 0.2), "b": (0.2, 0.3, 0.5), "c": (0.1, 0.8, 0.1)}
LOSSES = {"a": (2.1, 3.1, 1.1), "b": (2.2, 3.2, 1.2), "c": (2.3, 3.3, 1.3)}


def pair(tmp_path: Path, shares: str, losses: str) -> RunTable:
    (tmp_path / "s.csv").write_text(shares)
    (tmp_path / "l.csv").write_text(losses)
    return read_runs(f"{tmp_path}/s.csv,{tmp_path}/l.csv")


def text(
    values: dict[str, tuple[float, ...]], header: str = "run,web,code,math", before: str = "", **cells: str
) -> str:
    lines = [header]
    for at, (run, numbers) in enumerate(values.items()):
        row = [
            *([before.format(at=at)] if before else []),
            run,
            *(cells.get(run, "") or ",".join(map(str, numbers))).split(","),
        ]
        lines.append(",".join(row))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", ["Unnamed: 0", "", "level_0", "index", "row_id", "id"])
def test_what_an_index_leaves_is_no_domain(tmp_path: Path, name: str) -> None:
    shares = text(SHARES, f"{name},run,web,code,math", "{at}")
    table = pair(tmp_path, shares, text(LOSSES, f"{name},run,web,code,math", "{at}"))
    assert table.domains == ("web", "code", "math")
    assert set(table.evals) == {"web", "code", "math"}
    assert any("of the share table not used" in warning for warning in table.warnings)


def test_numbers_that_can_be_no_share_are_left_out_and_named(tmp_path: Path) -> None:
    table = pair(tmp_path, text(SHARES, "batch,run,web,code,math", "{at}12"), text(LOSSES))
    assert table.domains == ("web", "code", "math")
    assert any("can be no share left out: 'batch'" in warning for warning in table.warnings)


def test_a_small_number_beside_shares_is_no_domain_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"shares of no run sum to 1 \(without share\.wd they sum to 1"):
        pair(tmp_path, text(SHARES, "wd,run,web,code,math", "0.01"), text(LOSSES))


def test_runs_may_be_numbered_with_decimals(tmp_path: Path) -> None:
    shares = text(dict(zip("123", SHARES.values(), strict=True)))
    losses = text({f"{at}.0": values for at, values in zip("123", LOSSES.values(), strict=True)})
    assert set(pair(tmp_path, shares, losses).mixtures()) == {"1", "2", "3"}


def test_settings_and_steps_are_no_domains_and_no_losses(tmp_path: Path) -> None:
    table = pair(
        tmp_path, text(SHARES, "seed,run,web,code,math", "0"), text(LOSSES, "step,run,web,code,math", "500")
    )
    assert table.domains == ("web", "code", "math")
    assert set(table.evals) == {"web", "code", "math"}
    assert set(table.rows["seed"]) == {0}
    assert any("of the loss table not used: 'step'" in warning for warning in table.warnings)


@pytest.mark.parametrize("word", ["None", "N/A", "", "-", "missing"])
def test_a_word_for_nothing_hides_no_validation_set(tmp_path: Path, word: str) -> None:
    table = pair(tmp_path, text(SHARES), text(LOSSES, b=f"2.2,3.2,{word}"))
    assert table.rows.filter(eval="math")["run"].to_list() == ["a", "c"]
    assert any("1 rows without a finite loss dropped (run b)" in warning for warning in table.warnings)


def test_another_word_among_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"column 'math' holds what is not a number: 'high' in run 'b'"):
        pair(tmp_path, text(SHARES), text(LOSSES, b="2.2,3.2,high"))


def test_runs_of_one_table_only_are_named(tmp_path: Path) -> None:
    table = pair(tmp_path, text({**SHARES, "d": (1.0, 0.0, 0.0)}), text({**LOSSES, "e": (2.0, 3.0, 1.0)}))
    assert set(table.mixtures()) == {"a", "b", "c"}
    assert any("left out, without losses: d" in warning for warning in table.warnings)
    assert any("left out, without shares: e" in warning for warning in table.warnings)


def test_budgets_and_base_rows_may_stand_among_the_losses(tmp_path: Path) -> None:
    losses = text({**LOSSES, "base": (2.5, 3.5, 1.5)}, "tokens,run,web,code,math", "1B")
    table = pair(tmp_path, text(SHARES), losses.replace("1B,base", "0,base"))
    assert set(table.trained["tokens"]) == {10**9}
    assert table.base.filter(eval="web")["loss"].to_list() == [2.5]


def test_weight_decay_is_no_domain(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(
        "weight_web,weight_code,weight_decay,model_size,n_tokens,web_loss\n0.25,0.75,0.01,70m,2B,3.1\n"
        "0.5,0.5,0.01,70m,2B,3.2\n"
    )
    table = read_runs(tmp_path / "s.csv")
    assert table.domains == ("web", "code")
    assert any("'weight_decay' is no domain" in warning for warning in table.warnings)
