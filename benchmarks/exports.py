"""How long exports take: a mix spec of 60 domains in two stages, 40 shards each, to every target.

python -m benchmarks.exports
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from mixing.export.exporting import export
from mixing.export.registry import TARGETS
from mixing.spec.components import Domain, Shard, Stage
from mixing.spec.model import MixSpec
from mixing.spec.yaml_file import load_spec, save_spec

DOMAINS, SHARDS, BATCH = 60, 40, 4_194_304


def sixty_domains() -> MixSpec:
    """Shares from 0.0006 to 0.033, 2.1 billion tokens in two stages."""
    total = 512 * BATCH
    first = {f"domain {index}": index + 1 for index in range(DOMAINS)}
    second = {f"domain {index}": DOMAINS - index for index in range(DOMAINS)}
    stages = []
    for start, weights in ((0, first), (256 * BATCH, second)):
        whole = sum(weights.values())
        stages.append(
            Stage(from_token=start, shares={name: weight / whole for name, weight in weights.items()})
        )
    domains = {}
    for name in first:
        share = sum(stage.shares[name] for stage in stages) / 2
        shards = tuple(
            Shard(prefix=f"tokens/{name}/train-{part:05d}", tokens=5_000_000) for part in range(SHARDS)
        )
        domains[name] = Domain(
            role="general",
            share=share,
            tokens=5_000_000 * SHARDS,
            documents=250_000,
            mean_tokens_per_document=800.0,
            epochs=share * total / (5_000_000 * SHARDS),
            shards=shards,
            heldout_shards=(Shard(prefix=f"tokens/{name}/heldout-00000", tokens=1_000_000),),
            dtype="uint16",
        )
    return MixSpec(
        name="sixty",
        domains=domains,
        stages=tuple(stages),
        total_tokens=total,
        sequence_length=4096,
        global_batch_tokens=BATCH,
        data_root="/data/sixty",
    )


def seconds_per_target(spec: MixSpec, folder: Path) -> dict[str, tuple[float, float]]:
    """Seconds of a whole export each, files written and synced: on the clock, and of the processor."""
    taken = {}
    for name in TARGETS:
        (folder / name).mkdir()
        start = time.perf_counter(), time.process_time()
        export(spec, name, folder / name)
        taken[name] = time.perf_counter() - start[0], time.process_time() - start[1]
    return taken


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_spec(sixty_domains(), folder / "mixspec.yaml")
        start = time.perf_counter(), time.process_time()
        spec = load_spec(folder / "mixspec.yaml")
        loaded = time.perf_counter() - start[0], time.process_time() - start[1]
        size = (folder / "mixspec.yaml").stat().st_size
        print(f"{DOMAINS} domains, {SHARDS} shards each, {len(spec.stages)} stages; spec of {size:,} bytes")
        print(f"{'':14} {'clock':>7}  {'processor':>9}")
        print(f"{'read the spec':14} {loaded[0]:6.3f}s {loaded[1]:9.3f}s")
        for target, (clock, processor) in seconds_per_target(spec, folder).items():
            written = sum(path.stat().st_size for path in (folder / target).iterdir())
            print(f"{target:14} {clock:6.3f}s {processor:9.3f}s {written:10,} bytes")


if __name__ == "__main__":
    main()
