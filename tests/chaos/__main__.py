"""Faults on a real stack, and what came of them: `make chaos`.

    python -m tests.chaos [--kills 100] [--seed 0] [--minutes 15]

PostgreSQL, Prefect's and MLflow's servers and two workers run on this machine by the entry scripts of deploy/.
Tiny studies are run, and killed. Exit status 1 where a run was lost or trained twice, an answer differs from the
one without faults, or anything is left over.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.chaos import servers
from tests.chaos.deployed import workers_killed
from tests.chaos.kills import client_of, kill_round, undisturbed
from tests.chaos.tally import Tally
from tests.stack.services import MISSING, Stack, postgres_binaries

DEPLOYED_KILLS = 0.15
"""Of all kills, those to Prefect's workers and the flow runs that they started."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=15.0)
    asked = parser.parse_args()
    if postgres_binaries() is None:
        print(MISSING, file=sys.stderr)
        return 2
    began = time.monotonic()
    end = began + 60 * asked.minutes
    rng = np.random.default_rng(asked.seed)
    tally = Tally()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {text}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="mixlaw-chaos-") as name, Stack(Path(name) / "stack") as stack:
        folder = Path(name)
        client = client_of(stack)
        say("the stack is up; a study without faults")
        reference = undisturbed(folder / "reference", client)
        say(f"{len(reference.runs)} runs; duplicate deliveries")
        servers.delivered_twice(tally, folder / "double", reference, stack)
        say("PostgreSQL is killed and started")
        servers.postgres_restarts(tally, folder / "servers", reference, stack)
        say("MLflow is away for 30 s")
        servers.mlflow_is_away(tally, folder / "servers", reference, stack)
        say("the disk is full")
        servers.disk_full(tally, folder / "disk", reference, client)
        say("the clock jumps")
        servers.clock_jumps(tally, folder / "clock", reference, client)
        say("kills of workers and deployed flow runs")
        wanted = max(1, round(DEPLOYED_KILLS * asked.kills))
        given = workers_killed(tally, folder / "deployed", reference, stack, rng, wanted, 150.0)
        number = 0
        while given < asked.kills and time.monotonic() < end - 60:
            number += 1
            say(f"{given} of {asked.kills} kills; study {number} under kill -9")
            left = min(end - 60, time.monotonic() + 120)
            given += kill_round(
                tally, folder / f"kills-{number}", reference, client, rng, asked.kills - given, left
            )
        if given < asked.kills:
            tally.notes.append(
                f"{given} of {asked.kills} kills in {asked.minutes:g} minutes: the machine is slow"
            )
    print(tally.table())
    print(f"in {time.monotonic() - began:.0f} s, seed {asked.seed}")
    for line in tally.failed():
        print(f"FAILED {line}", file=sys.stderr)
    return 1 if tally.failed() else 0


if __name__ == "__main__":
    sys.exit(main())
