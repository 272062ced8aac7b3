"""Stands in for torchvision, which mosaicml-streaming imports for datasets of images that no test reads."""
