"""The mix for torchtitan, documents packed after mixing: weights are converted from token shares."""

from torchtitan.components.data.dataset import DatasetMixConfig, WeightedDataset
from torchtitan.components.data.packing import ConcatThenSplitPackingConfig

WEIGHTS = {
    "web": 0.6480343696586132,
    "code": 0.07409802744029197,
    "math": 0.27786760290109486,
}


def dataset_mix(datasets):
    """`datasets` maps each name to its dataset config, with repeat=True."""
    mix = DatasetMixConfig(
        datasets=tuple(
            WeightedDataset(dataset=datasets[name], weight=weight) for name, weight in WEIGHTS.items()
        )
    )
    return ConcatThenSplitPackingConfig(dataset=mix)
