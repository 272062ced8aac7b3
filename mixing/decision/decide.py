"""`decide`: how much of what to train on, with an interval. Which decider answers is settled here, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from mixing.arguments import amount, number, numbers_by_name, whole
from mixing.decision.constraints import Constraints
from mixing.decision.critical_ratio.decider import decide_ratio
from mixing.decision.critical_ratio.ratio_runs import one_composition
from mixing.decision.mixture.decider import decide_mixture
from mixing.decision.question import Question, TurningPoint, make_question
from mixing.decision.result import Decision
from mixing.errors import InputError
from mixing.runs.read import read_runs
from mixing.runs.table import RunTable

Weights = str | Iterable[str] | Mapping[str, float]
"""Validation sets: one name, several of equal weight, or {name: weight}."""


def decide(
    runs: object,
    *,
    target: Weights,
    general: Weights | None = None,
    tolerance: float | None = None,
    tokens: float | str | None = None,
    params: float | str | None = None,
    level: float = 0.9,
    confidence: float = 0.9,
    turning_point: TurningPoint = "report",
    target_domains: str | Iterable[str] | None = None,
    protect: Mapping[str, float] | None = None,
    max_shares: Mapping[str, float] | None = None,
    min_shares: Mapping[str, float] | None = None,
    supply: Mapping[str, float] | None = None,
    max_epochs: float | Mapping[str, float] = 4.0,
    prior: Mapping[str, float] | None = None,
    kl: float = 0.0,
    freeze: Iterable[Iterable[str]] | None = None,
    worst_case: bool = False,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Decision:
    """How much of what: the critical ratio of two sources, the best mixture of more, with intervals.

    With two sources over a base model, or fixed proportions within the general and within the target domains, it is
    the largest target share that keeps the general loss within the tolerance (Gu et al. 2024); otherwise the mixture
    with the least target loss under all constraints.

    Args:
        runs: a runs table, or anything that `read_runs` reads.
        target: the validation sets to improve: a name, several, or {name: weight} (weights are normalised).
        general: those to protect, in the same form; may be left out with more than two sources.
        tolerance: how much the general loss may rise over the base model, nats; goes with `general`, default 0.
        tokens: the continual-pre-training budget asked about, a number or text such as "20B" (default: the
            largest that almost all runs reached).
        params: the model size asked about, non-embedding parameters, in the same form (default: the largest of the
            table with at least half as many mixtures as any).
        level: confidence level of all intervals.
        confidence: probability with which `safe_ratio` keeps the tests that bind; it changes nothing else.
        turning_point: whether the general loss must have turned down at the budget (`require`), whether the test is
            shown but doesn't bind (`report`), or is left out (`off`).
        target_domains: share columns that add up to the target share (default: those named like a target set).
        protect: the largest increments of single validation sets, nats.
        max_shares, min_shares: bounds on domains' shares.
        supply: available tokens by domain; a share is capped where the budget would read them more than `max_epochs`
            times.
        max_epochs: how often text may be repeated: one number, or one per domain.
        prior: natural shares of all domains, of any sum: numbers of tokens will do (default: those of the supply). A
            baseline, and what `kl` pulls towards.
        kl: weight of the divergence from the prior, nats.
        freeze: groups of domains that keep the prior's proportions.
        worst_case: the worst target counts, not the weighted mean.
        seed: of all random numbers; the same seed gives the same answer.
        on_progress: called with (done, total), for a mixture of many sources.

    Returns:
        A Decision; where these runs cannot support an answer its `status` is "not_yet", with `reason` and `next_runs`.

    Raises:
        InputError: for a table or a question that cannot be used, naming the argument, and for constraints that leave
            no mixture.

    Example:
        >>> from mixing.test_problems import LANDSCAPES
        >>> runs = LANDSCAPES[0].study([0.2, 0.4, 0.6, 0.8], [250_000, 500_000, 1_000_000])
        >>> answer = decide(runs, general="general", target="target", tolerance=0.02)
        >>> answer.status, sorted(answer.shares)
        ('decided', ['general', 'target'])
    """
    table = read_runs(runs)
    question = make_question(
        table,
        weights_of(general, "general"),
        weights_of(target, "target"),
        _names(target_domains, "target_domains") or None,
        tolerance=0.0 if tolerance is None else number(tolerance, "tolerance"),
        tokens=None if tokens is None else amount(tokens, "tokens"),
        params=None if params is None else amount(params, "params"),
        level=number(level, "level"),
        confidence=number(confidence, "confidence"),
        turning_point=turning_point,
    )
    epochs_by_name = isinstance(max_epochs, Mapping)
    constraints = Constraints(
        min_shares=numbers_by_name(min_shares, "min_shares"),
        max_shares=numbers_by_name(max_shares, "max_shares"),
        supply=numbers_by_name(supply, "supply"),
        max_epochs=numbers_by_name(max_epochs, "max_epochs")
        if epochs_by_name
        else number(max_epochs, "max_epochs"),
        prior=numbers_by_name(prior, "prior"),
        kl=number(kl, "kl"),
        freeze=tuple(_names(group, "freeze") for group in _groups(freeze)),
        protect=numbers_by_name(protect, "protect"),
        worst_case=worst_case,
    )
    return answer_question(table, question, constraints, seed=whole(seed, "seed"), on_progress=on_progress)


def answer_question(
    table: RunTable,
    question: Question,
    constraints: Constraints | None = None,
    *,
    composition: Mapping[str, float] | None = None,
    law: str = "auto",
    seed: int = 0,
    curves: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
) -> Decision:
    """The decision on a question that is already checked, by the decider that its table calls for.

    `composition` is each domain's share within its role, where it is known rather than read off the runs; `law` is for
    a mixture, `curves` for a ratio. Raises InputError as `decide` does.
    """
    constraints = constraints or Constraints()
    if single_ratio(table, question, constraints):
        return decide_ratio(table, question, constraints, composition=composition, seed=seed, curves=curves)
    return decide_mixture(table, question, constraints, law=law, seed=seed, on_progress=on_progress)


def single_ratio(table: RunTable, question: Question, constraints: Constraints | None = None) -> bool:
    """Whether one target share describes every run, over a base model: two sources, or fixed proportions within each
    role. Without base rows no increment is known, and the mixture is sought against the mean trained one.

    Raises InputError for constraints that one share cannot respect.
    """
    constraints = constraints or Constraints()
    constraints.check(table.domains)
    beyond = constraints.beyond_one_ratio()
    if len(table.domains) == 2 and table.base.height:
        if beyond:
            raise InputError(
                f"{', '.join(beyond)}: for more than two sources",
                "Leave it out: with two sources one share is decided",
            )
        return True
    if beyond or not question.general or not question.target_domains or not table.base.height:
        return False
    return one_composition(table, question.target_domains)


def weights_of(named: Weights | None, role: str) -> dict[str, float]:
    """Weights by validation set, not yet normalised, of one name, several, or {name: weight}.

    Raises InputError, naming the argument `role`, for anything else.
    """
    if isinstance(named, Mapping):
        return numbers_by_name(named, role)
    names = _names(named, role)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"{', '.join(repeated)} is named twice", "Name every validation set once")
    return dict.fromkeys(names, 1.0)


def _groups(freeze: object) -> tuple[object, ...]:
    if freeze is None:
        return ()
    if isinstance(freeze, str) or not isinstance(freeze, Iterable):
        raise InputError(f"freeze {freeze!r}: not a list of groups", 'Give freeze=[["NAME", "NAME"], ...]')
    return tuple(freeze)


def _names(named: object, argument: str) -> tuple[str, ...]:
    if named is None:
        return ()
    if isinstance(named, str):
        return (named,)
    names = tuple(named) if isinstance(named, Iterable) else (named,)
    if not all(isinstance(name, str) for name in names):
        raise InputError(f"{argument} {named!r}: not a name or a list of names", f'Give {argument}="NAME"')
    return names
