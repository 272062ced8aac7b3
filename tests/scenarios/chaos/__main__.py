"""Faults on a real stack, and what came of them: `make chaos`.

    python -m tests.scenarios.chaos [--kills 100] [--seed 0] [--minutes 25] [--only kills ...]

PostgreSQL, Prefect's and MLflow's servers and two workers run on this machine by the entry scripts of deploy/.
Tiny studies are run, and killed. Exit status 1 where a run was lost or trained twice, an answer differs from the
one without faults, or anything is left over.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tests.scenarios.chaos import servers
from tests.scenarios.chaos.deployed import workers_killed
from tests.scenarios.chaos.kills import client_of, kill_round, open_flow_runs, undisturbed
from tests.scenarios.chaos.tally import Pot, Tally
from tests.scenarios.stack.services import MISSING, Stack, postgres_binaries

SCENARIOS = ("deliveries", "postgres", "mlflow", "disk", "clock", "workers", "kills")
SIDE_BY_SIDE = 2
"""Studies that are killed at the same time, each with a home of its own."""
DEPLOYED_KILLS = 0.15
"""Of all kills, those to Prefect's workers and the flow runs that they started."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.scenarios.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--only", nargs="+", choices=SCENARIOS)
    asked = parser.parse_args()
    if postgres_binaries() is None:
        print(MISSING, file=sys.stderr)
        return 2
    began = time.monotonic()
    end = began + 60 * asked.minutes
    tally = Tally()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {text}", file=sys.stderr, flush=True)

    def in_time(name: str) -> bool:
        if asked.only and name not in asked.only:
            return False
        if time.monotonic() > end - 120 and name != "kills":
            tally.not_done.append(f"{name}: left out, {asked.minutes:g} minutes are over")
            return False
        say(name)
        return True

    with tempfile.TemporaryDirectory(prefix="mixlaw-chaos-") as name:
        stack = Stack(Path(name) / "stack")
        try:
            with stack:
                _inject(tally, Path(name), stack, asked, end, in_time, say)
        except AssertionError as error:
            # A server or worker that did not end when asked, or something that outlived it.
            tally.orphans.append(f"{error}"[:300])
    print(tally.table())
    print(f"in {time.monotonic() - began:.0f} s, seed {asked.seed}")
    for line in tally.failed():
        print(f"FAILED {line}", file=sys.stderr)
    return 1 if tally.failed() else 0


def _inject(
    tally: Tally,
    folder: Path,
    stack: Stack,
    asked: argparse.Namespace,
    end: float,
    in_time: Callable[[str], bool],
    say: Callable[[str], None],
) -> None:
    rng = np.random.default_rng(asked.seed)
    client = client_of(stack)
    reference = undisturbed(folder / "reference", client)
    given = 0
    if in_time("deliveries"):
        servers.delivered_twice(tally, folder / "double", reference, stack)
    if in_time("postgres"):
        servers.postgres_restarts(tally, folder / "servers", reference, stack)
    if in_time("mlflow"):
        servers.mlflow_is_away(tally, folder / "servers", reference, stack)
    if in_time("disk"):
        servers.disk_full(tally, folder / "disk", reference, client)
    if in_time("clock"):
        servers.clock_jumps(tally, folder / "clock", reference, client)
    if in_time("workers"):
        wanted = max(1, round(DEPLOYED_KILLS * asked.kills))
        given = workers_killed(tally, folder / "deployed", reference, stack, rng, wanted, 150.0)
    if not in_time("kills"):
        return
    pot = Pot(asked.kills - given)

    def one_after_another(lane: int, own: np.random.Generator) -> None:
        for number in itertools.count(1):
            if not pot.left or time.monotonic() > end - 90:
                return
            study = folder / f"kills-{lane}-{number}"
            kill_round(tally, study, reference, client, own, pot, end - 90)
            tally.unreaped += open_flow_runs(stack, study / "home" / "tiny")
            say(f"{asked.kills - pot.left} of {asked.kills} kills")

    with ThreadPoolExecutor(SIDE_BY_SIDE) as lanes:
        list(lanes.map(one_after_another, range(SIDE_BY_SIDE), rng.spawn(SIDE_BY_SIDE)))
    if pot.left:
        tally.not_done.append(
            f"{asked.kills - pot.left} of {asked.kills} kills in {asked.minutes:g} minutes (--minutes gives more)"
        )


if __name__ == "__main__":
    sys.exit(main())
