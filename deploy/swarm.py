"""Train a study's proxies on a Dask or a Ray cluster, instead of on Prefect's workers.

    python deploy/swarm.py STUDY --dask tcp://scheduler:8786
    python deploy/swarm.py STUDY --ray auto

A run is a plain function of its spec that writes into the run store, so any system that calls functions can
train it. MIXLAW_HOME must be a folder that all machines share under one name, and mixlaw must be installed on
them. Afterwards `mixlaw run STUDY`, by hand or deployed, finds every run done, and decides.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from flows.pipeline.plan import make_plan
from flows.pipeline.prepare import Job, base_spec, catalogue, proxy_spec, supply_of, token_store
from flows.settings import home
from proxies.runs.launch import launch

Train = Callable[[], Path]


def swarm(study_file: str, train_base: Callable[[Train], None]) -> list[Train]:
    """Prepare the corpora here, have the base trained, and return what trains each proxy."""
    job = Job.load(study_file, home.home())
    job.create_folder()
    store = token_store(job, catalogue(job))
    plan = make_plan(job.study, supply_of(store))
    base = base_spec(job, store, next(iter(plan.of_kind("base")), None))
    runs, tokens = job.folder.runs, job.folder.tokens
    train_base(partial(launch, base, runs, tokens, job.base_checkpoint))
    specs = [proxy_spec(job, store, planned, base.run_id) for planned in plan.of_kind("proxy")]
    return [partial(launch, spec, runs, tokens, runs / base.run_id / "weights.pt") for spec in specs]


def on_dask(study_file: str, scheduler: str) -> Iterator[Path]:
    try:
        from dask.distributed import Client, as_completed
    except ImportError:
        raise SystemExit("swarm.py: dask is not installed here: pip install distributed") from None

    with Client(scheduler) as client:
        # Not pure: called again, it must look at the run store again.
        runs = swarm(study_file, lambda train: client.submit(train, pure=False).result())
        # A worker that is killed takes its run with it; the next one continues from the last checkpoint.
        futures = [client.submit(train, pure=False, retries=3) for train in runs]
        for future in as_completed(futures):
            yield future.result()


def on_ray(study_file: str, address: str) -> Iterator[Path]:
    import ray

    ray.init(address)
    call = ray.remote(num_cpus=1, max_retries=3)(lambda train: train())
    left = [call.remote(train) for train in swarm(study_file, lambda train: ray.get(call.remote(train)))]
    while left:
        (done, *_), left = ray.wait(left)
        yield ray.get(done)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a study's proxies on a Dask or a Ray cluster.")
    parser.add_argument("study")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--dask", metavar="ADDRESS", help="of the scheduler, such as tcp://scheduler:8786")
    where.add_argument("--ray", metavar="ADDRESS", help="of the cluster, such as auto")
    given = parser.parse_args()
    for run in on_dask(given.study, given.dask) if given.dask else on_ray(given.study, given.ray):
        print(run, flush=True)


if __name__ == "__main__":
    main()
