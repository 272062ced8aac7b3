"""Events for automations: `mixlaw.decision`, `mixlaw.failed` and `mixlaw.unchanged` (docs/deployments.md)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from flows.settings.logging import redacted
from mixing.decision.wording import shares

if TYPE_CHECKING:
    from flows.pipeline.result import StudyResult
    from flows.pipeline.workspace import Workspace

DECISION, FAILED, UNCHANGED = "mixlaw.decision", "mixlaw.failed", "mixlaw.unchanged"


def emit_decision(result: StudyResult) -> None:
    """Emit `mixlaw.decision`, labelled by whether the mix is of a `new` version, the `same`, or `none`."""
    decision, publication = result.analysis.decision, result.publication
    if publication is None or publication.version is None:
        version = "none"
    else:
        version = "new" if publication.new_version else "same"
    _emit(
        result.workspace,
        DECISION,
        {
            "status": decision.status,
            "shares": decision.shares,
            "mix": shares(decision.shares) if decision.shares else "not yet",
            "critical_ratio": decision.critical_ratio,
            "interval": list(decision.interval) if decision.interval else None,
            "version": publication.version if publication else None,
            "alias": publication.alias if publication else None,
            "verdict": publication.verdict if publication else None,
            "new_version": publication.new_version if publication else None,
            "mlflow_run": publication.run if publication else None,
            "note": result.note,
        },
        version=version,
    )


def emit_unchanged(workspace: Workspace, reason: str) -> None:
    """Emit `mixlaw.unchanged`: a refresh found nothing that can move the answer."""
    _emit(workspace, UNCHANGED, {"reason": reason})


@contextlib.contextmanager
def emitting_failures(workspace: Workspace) -> Iterator[None]:
    """Emit `mixlaw.failed` for what the block raises, and let it through."""
    try:
        yield
    except Exception as error:
        _emit(workspace, FAILED, {"reason": redacted(str(error)), "error": type(error).__name__})
        raise


def _emit(workspace: Workspace, event: str, payload: dict[str, object], **labels: str) -> None:
    """`labels` are what automations can match. Prefect adds the flow run, its deployment and its tags."""
    from prefect.events import emit_event
    from prefect.runtime import flow_run

    name = workspace.study.study
    resource = {"prefect.resource.id": f"mixlaw.study.{name}", "prefect.resource.name": name}
    emit_event(
        event=event,
        resource=resource | {f"mixlaw.{key}": value for key, value in labels.items()},
        payload={"study": name, "flow_run": str(flow_run.id or ""), "home": str(workspace.root), **payload},
    )
