"""Names that mosaicml-streaming imports."""


class VisionDataset:
    """Never made."""


class CIFAR10(VisionDataset):
    """Never made."""
