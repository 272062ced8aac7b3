"""Datatrove's reader of raw tokens, on the windows that the plain JSON asks for."""

from __future__ import annotations

import json
from bisect import bisect_right
from itertools import accumulate

from mixing.export.drawing import Drawn, Loader, Request, names_of


def draw(request: Request) -> Drawn:
    """As many windows of every domain as the file says: the whole run."""
    from datatrove.utils.dataset import DatatroveFileDataset

    mix = json.loads(request.file.read_text(encoding="utf-8"))
    items = []
    for domain in mix["domains"]:
        files = [
            # Its windows have one token more than it is asked for.
            DatatroveFileDataset(file, seq_len=mix["sequence_length"] - 1, token_size=mix["token_size"])
            for file in domain["files"]
        ]
        ends = list(accumulate(len(file) for file in files))
        for window in range(domain["windows"]):
            place = window % ends[-1]
            which = bisect_right(ends, place)
            sample = files[which][place - (ends[which - 1] if which else 0)]
            items.append((domain["name"], len(sample["input_ids"])))
    return Drawn.of(names_of(request), items)


DATATROVE = Loader("datatrove", "datatrove", "datatrove>=0.10", draw, whole=True)
