"""Every target, over random specs, held against its trainer's rules; and back to a spec again."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from flows.reports.exports import export_summary
from mixing.corpora.files import folder_name
from mixing.errors import InputError
from mixing.export.exporting import Export, export
from mixing.export.importing import import_spec
from mixing.export.planning import Unit
from mixing.export.registry import TARGETS
from mixing.spec.model import MixSpec
from tests.mixing.export.trainer_rules import RULES, Promise, olmo_core_has_enough
from tests.mixing.spec.examples import specs

# Without shrinking: a spec of sixty domains would be shrunk for five minutes.
RANDOM = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
UNITS = [(name, unit) for name, target in TARGETS.items() for unit in target.units]


def test_every_target_has_rules() -> None:
    assert list(RULES) == list(TARGETS)


def owners_of(spec: MixSpec, exported: Export) -> dict[str, str]:
    """The domain of every name, prefix and folder that may stand in a file."""
    owners = {name: name for name in spec.domains}
    owners |= {folder_name(name): name for name in spec.domains}
    for name, domain in spec.domains.items():
        owners |= {f"{spec.data_root}/{shard.prefix}": name for shard in domain.shards}
    owners |= {item.folder: item.domain for item in exported.data}
    for item in exported.data:
        owners[item.folder.replace("[", "[[]")] = item.domain
    return owners


def token_shares(promise: Promise, owners: dict[str, str], spec: MixSpec, unit: Unit) -> dict[str, float]:
    shares: dict[str, float] = {}
    for key, part in promise.drawn.items():
        shares[owners[key]] = shares.get(owners[key], 0.0) + part
    if unit == "document":
        shares = {
            name: part * spec.domains[name].tokens / spec.domains[name].documents  # type: ignore[operator]
            for name, part in shares.items()
        }
    total = math.fsum(shares.values())
    return {name: part / total for name, part in shares.items()}


def edges_in_batches(spec: MixSpec) -> list[int]:
    batch = spec.global_batch_tokens or 1
    return [int(stage.from_token / batch + 0.5) for stage in spec.stages] + [spec.total_tokens // batch]


def refusals(spec: MixSpec, target: str) -> list[str]:
    """Reasons for which this spec may be refused; the first two must be, whatever the target."""
    edges = edges_in_batches(spec)
    batch = spec.global_batch_tokens or 1
    if any(end <= start for start, end in pairwise(edges)):
        return ["shorter than one batch", "shorter than one block"]
    for name, domain in spec.domains.items():
        reads = [
            stage.shares[name] * (end - start) * batch
            for stage, (start, end) in zip(spec.stages, pairwise(edges), strict=True)
        ]
        if sum(reads) > domain.max_epochs * (domain.tokens or 1) * (1 + 1e-6):
            return ["above its max_epochs"]
    text = repr(spec.data_root) + "".join(spec.domains)
    found = []
    if target == "olmo-core" and "*" in text:
        found.append("which OLMo-core reads as a pattern")
    if "${" in text:
        found.append("fill")
    if target == "levanter":
        found += ["less than one sequence in a block", "shorter than one block"]
    return found


def export_or_refusal(spec: MixSpec, target: str, unit: Unit, out: Any) -> Export | str:
    try:
        return export(spec, target, out, unit=unit)
    except InputError as error:
        assert list(out.iterdir()) == []
        return error.message


@RANDOM
@given(specs())
def test_no_file_breaks_its_trainers_rules(tmp_path_factory: pytest.TempPathFactory, spec: MixSpec) -> None:
    for target, unit in UNITS:
        possible = refusals(spec, target)
        done = export_or_refusal(spec, target, unit, tmp_path_factory.mktemp("out"))
        if isinstance(done, str):
            assert any(reason in done for reason in possible), done
            continue
        assert "shorter than one batch" not in possible
        assert "above its max_epochs" not in possible
        check(spec, target, unit, done)
        export_summary(spec, done)
        again = export(spec, target, unit=unit)
        assert [file.text for file in again.files] == [file.text for file in done.files]


def check(spec: MixSpec, target: str, unit: Unit, done: Export) -> None:
    batch = spec.global_batch_tokens or 1
    owners = owners_of(spec, done)
    promises = [promise for file in done.files for promise in RULES[target](file.text, file.settings)]
    assert len(promises) == len(spec.stages)
    assert len(done.files) == (1 if TARGETS[target].staged else len(spec.stages))
    assert 0 <= spec.total_tokens - done.plan.tokens < batch
    for index, promise in enumerate(promises):
        stage = done.plan.stages[index]
        asked = {name: share for name, share in spec.stages[index].shares.items() if share > 1e-18}
        total = math.fsum(asked.values())
        got = token_shares(promise, owners, spec, unit)
        assert set(got) <= set(asked)
        slack = promise.slack
        if unit == "window":
            for name, share in asked.items():
                assert got.get(name, 0.0) == pytest.approx(share / total, rel=1e-6, abs=slack + 1e-12), name
        elif target not in {"maxtext", "axolotl"}:
            for name, share in asked.items():
                assert got[name] == pytest.approx(share / total, rel=1e-6, abs=1e-12), name
        if TARGETS[target].staged:
            assert promise.step * batch == stage.first_token
    if target == "olmo-core":
        sizes = {
            f"{spec.data_root}/{shard.prefix}": shard.tokens
            for domain in spec.domains.values()
            for shard in domain.shards
        }
        for file in done.files:
            olmo_core_has_enough(file.text, file.settings, sizes)
    parts_are_disjoint(spec, done)


def parts_are_disjoint(spec: MixSpec, done: Export) -> None:
    """Shards are of one stage only, or shared by all stages that read the domain; and no cap is passed."""
    if TARGETS[done.target].staged:
        return
    for name, domain in spec.domains.items():
        reads = [stage for stage in done.plan.stages if name in stage.shares]
        parts = [frozenset(shard.prefix for shard in stage.shards[name]) for stage in reads]
        if len(set(parts)) > 1:
            assert sum(len(part) for part in parts) == len(frozenset().union(*parts))
            for stage in reads:
                assert stage.epochs[name] <= domain.max_epochs * (1 + 1e-6)


@RANDOM
@given(specs())
def test_spec_to_target_and_back(spec: MixSpec) -> None:
    for target, unit in UNITS:
        try:
            done = export(spec, target, unit=unit)
        except InputError:
            continue
        back = import_spec([file.text for file in done.files], target, name="x", like=spec, unit=unit).spec
        assert len(back.stages) == len(spec.stages)
        for planned, stage, old in zip(done.plan.stages, back.stages, spec.stages, strict=True):
            asked = planned.shares
            assert stage.from_token in {planned.first_token, old.from_token}
            if target == "axolotl":  # whole rows
                assert set(stage.shares) <= set(asked)
                continue
            if target == "levanter":  # without what no block can hold
                asked = {name: share for name, share in asked.items() if name in stage.shares}
                assert math.fsum(asked.values()) > 0.99
            assert stage.shares == pytest.approx(asked, rel=1e-2 if target == "levanter" else 1e-6, abs=1e-15)
            if TARGETS[target].staged:
                assert stage.from_token == planned.first_token
