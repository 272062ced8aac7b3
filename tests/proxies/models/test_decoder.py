"""The decoder: right architecture, exact chunked loss, weights from the seed."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.plain_llama import PlainLlama
from proxies.models.decoder import Decoder, cross_entropy, token_losses
from tests.proxies.memory_store import VOCABULARY, memory_store, proxy_spec


def small(**changes: object) -> Decoder:
    return Decoder(
        proxy_spec(memory_store(), depth=2, context=24, batch_tokens=96, tokens=0, **ADOPTED, **changes)
    )


ADOPTED = {"base": "0" * 64, "mixture": {}, "budgets": ()}


def windows(rows: int = 3, length: int = 25) -> Tensor:
    return torch.randint(0, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(3))


@given(rows=st.integers(1, 70), chunk=st.integers(1, 80), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_chunked_cross_entropy_has_the_loss_and_gradients_of_the_full_one(
    rows: int, chunk: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(rows, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(13, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, 13, (rows,), generator=generator)
    full = F.cross_entropy(hidden @ weight.t(), targets)
    expected = torch.autograd.grad(3 * full, (hidden, weight))
    loss = cross_entropy(hidden, weight, targets, chunk)
    found = torch.autograd.grad(3 * loss, (hidden, weight))
    torch.testing.assert_close(loss, full)
    torch.testing.assert_close(found, expected)


def test_cross_entropy_of_a_hopeless_prediction_is_finite() -> None:
    hidden = torch.tensor([[1000.0]], requires_grad=True)
    loss = cross_entropy(hidden, torch.tensor([[1.0], [0.0]]), torch.tensor([1]))
    assert 80 < loss.item() < 90


def test_token_losses_are_those_of_the_full_logits() -> None:
    hidden, weight = torch.randn(600, 8), torch.randn(13, 8)
    targets = torch.randint(0, 13, (600,))
    torch.testing.assert_close(
        token_losses(hidden, weight, targets), F.cross_entropy(hidden @ weight.t(), targets, reduction="none")
    )


def test_the_model_is_an_ordinary_llama() -> None:
    """Same weights in a plain implementation: same losses, same gradients."""
    model = small()
    plain = PlainLlama.of(model)
    batch = windows()
    ours, theirs = model.loss(batch), plain.loss(batch)
    torch.testing.assert_close(ours, theirs)
    ours.backward()
    theirs.backward()
    torch.testing.assert_close(model.embedding.grad, plain.embedding.weight.grad, rtol=1e-4, atol=1e-6)
    qkv = torch.cat([getattr(plain.layers[1].attention, name).weight.grad for name in ("wq", "wk", "wv")])
    torch.testing.assert_close(model.blocks[1].qkv.grad, qkv, rtol=1e-4, atol=1e-6)


def test_no_token_sees_a_later_one() -> None:
    model, batch = small(), windows(rows=1)
    changed = batch.clone()
    changed[0, 12] = (changed[0, 12] + 1) % VOCABULARY
    one, other = model(batch[:, :-1]), model(changed[:, :-1])
    torch.testing.assert_close(one[:12], other[:12], rtol=0, atol=0)
    assert not torch.equal(one[12:], other[12:])


def test_the_order_of_tokens_matters() -> None:
    model = small()
    tokens = windows(rows=1)[:, :8]
    reordered = tokens[:, [1, 0, *range(2, 8)]]
    assert not torch.allclose(model(tokens)[-1], model(reordered)[-1], atol=1e-4)


def test_window_losses_average_to_the_loss() -> None:
    model, batch = small(), windows()
    assert model.window_losses(batch).shape == (3,)
    torch.testing.assert_close(model.window_losses(batch).mean(), model.loss(batch).detach())


def test_weights_are_a_function_of_the_seed_alone() -> None:
    torch.manual_seed(1)
    one = small(seed=5).state_dict()
    torch.manual_seed(2)
    for name, tensor in small(seed=5, study_seed=99).state_dict().items():
        assert torch.equal(tensor, one[name])
    assert not torch.equal(small(seed=6).state_dict()["embedding"], one["embedding"])


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_params_counts_all_but_the_embedding(depth: int) -> None:
    spec = proxy_spec(memory_store(), depth=depth)
    model = Decoder(spec)
    assert spec.params == sum(p.numel() for p in model.parameters()) - model.embedding.numel()


def test_a_fresh_model_knows_nothing() -> None:
    assert small().loss(windows(rows=40)).item() == pytest.approx(math.log(VOCABULARY), abs=0.1)
