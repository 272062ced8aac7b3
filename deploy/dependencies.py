"""For the Dockerfile: what pyproject.toml asks for, one a line; or whether the torch installed is the wanted one.

dependencies.py EXTRA            the dependencies, with those of the extra
dependencies.py --torch cpu|cuda
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def dependencies(extra: str) -> list[str]:
    """Requirements of the project and of one extra, whose references to other extras are followed."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    found, extras = list(project["dependencies"]), [extra]
    while extras:
        for requirement in project["optional-dependencies"][extras.pop()]:
            own = requirement.removeprefix(f"{project['name']}[")
            if own == requirement:
                found.append(requirement)
            else:
                extras += own.rstrip("]").split(",")
    return found


def check_torch(accelerator: str) -> None:
    """End with one line where the torch installed was not built for `accelerator`."""
    import torch

    cuda = torch.version.cuda
    if accelerator == "cpu" and cuda:
        sys.exit(
            f"torch {torch.__version__} was built for CUDA {cuda}: pass TORCH_INDEX, or ACCELERATOR=cuda"
        )
    if accelerator == "cuda" and not cuda:
        sys.exit(
            f"torch {torch.__version__} was built without CUDA: pass no TORCH_INDEX, or one with CUDA wheels"
        )
    if accelerator not in ("cpu", "cuda"):
        sys.exit(f"ACCELERATOR={accelerator}: cpu or cuda")


if __name__ == "__main__":
    if sys.argv[1] == "--torch":
        check_torch(sys.argv[2])
    else:
        print(*dependencies(sys.argv[1]), sep="\n")
