"""The mix for torchtitan, packed windows of each dataset: pack first, then mix, so weights are token shares."""

from torchtitan.components.data.dataset import DatasetMixConfig, WeightedDataset
from torchtitan.components.data.packing import ConcatThenSplitPackingConfig

WEIGHTS = {
    "web": 0.7,
    "code": 0.2,
    "math": 0.1,
}


def dataset_mix(datasets):
    """`datasets` maps each name to its dataset config, with repeat=True."""
    return DatasetMixConfig(
        datasets=tuple(
            WeightedDataset(dataset=ConcatThenSplitPackingConfig(dataset=datasets[name]), weight=weight)
            for name, weight in WEIGHTS.items()
        )
    )
