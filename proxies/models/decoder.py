"""The proxy: a small Llama-style decoder (RMSNorm, RoPE, SwiGLU, SDPA; embedding tied to the output head).

Plain torch. What is written for speed on one CPU thread leaves the numbers as they are: projections that read
the same input are one matrix, rotary positions and the gradient of SwiGLU are computed in place, residuals
are added by the matrix product, and the loss goes through the output head in chunks of tokens, so that the
logits of a batch never exist at once.
"""

from __future__ import annotations

import math
from typing import Any
from zlib import crc32

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from proxies.spec import HEAD_DIM, ProxySpec

EPS = 1e-5
ROPE_BASE = 10_000.0
EMBEDDING_STD = 0.02
CHUNK = {"cpu": 256, "cuda": 8192}
"""Tokens whose logits exist at once: on a CPU 256 x a vocabulary of 4096 is about what stays in its cache."""


def _apply(function: type[torch.autograd.Function], *arguments: Any) -> Tensor:
    """`function.apply`, which torch leaves without types."""
    result: Tensor = function.apply(*arguments)
    return result


class _CrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of `hidden @ weight.T`, computing loss and gradients together, chunk by chunk."""

    @staticmethod
    def forward(ctx: Any, hidden_nd: Tensor, weight_vd: Tensor, targets_n: Tensor, chunk: int) -> Tensor:
        rows = len(hidden_nd)
        grad_hidden = torch.empty_like(hidden_nd)
        # Summed the other way round, which the matrix product does an eighth faster.
        grad_weight_dv = torch.zeros_like(weight_vd.t(), memory_format=torch.contiguous_format)
        probability_n = hidden_nd.new_empty(rows, 1)
        buffer = hidden_nd.new_empty(min(chunk, rows), len(weight_vd))
        for start in range(0, rows, chunk):
            part = slice(start, start + chunk)
            hidden, target = hidden_nd[part], targets_n[part, None]
            logits = buffer[: len(hidden)]
            torch.mm(hidden, weight_vd.t(), out=logits)
            grad_logits = torch.softmax(logits, dim=1, out=logits)
            probability = grad_logits.gather(1, target)
            probability_n[part] = probability
            grad_logits.scatter_(1, target, probability - 1)
            torch.mm(grad_logits, weight_vd, out=grad_hidden[part])
            grad_weight_dv.addmm_(hidden.t(), grad_logits)
        ctx.save_for_backward(grad_hidden, grad_weight_dv.t().contiguous())
        # A probability that underflows to 0 counts as the smallest float (87 nats), not as infinite loss.
        smallest = torch.finfo(hidden_nd.dtype).tiny
        return probability_n.clamp_min_(smallest).log_().mean().neg_()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        scale = grads[0] / len(grad_hidden)
        return grad_hidden.mul_(scale), grad_weight.mul_(scale), None, None


def cross_entropy(
    hidden_nd: Tensor, weight_vd: Tensor, targets_n: Tensor, chunk: int | None = None
) -> Tensor:
    """Mean cross-entropy in nats of the logits `hidden_nd @ weight_vd.T`; differentiable once."""
    return _apply(_CrossEntropy, hidden_nd, weight_vd, targets_n, chunk or CHUNK[hidden_nd.device.type])


def token_losses(hidden_nd: Tensor, weight_vd: Tensor, targets_n: Tensor) -> Tensor:
    """Cross-entropy of each token in nats, [n], without gradients."""
    chunk = CHUNK[hidden_nd.device.type]
    return torch.cat(
        [
            F.cross_entropy(hidden @ weight_vd.t(), targets, reduction="none")
            for hidden, targets in zip(hidden_nd.split(chunk), targets_n.split(chunk), strict=True)
        ]
    )


class _Rotate(torch.autograd.Function):
    """Rotary positions on the queries and keys of a packed [tokens, 3 x width] projection, in place."""

    @staticmethod
    def forward(ctx: Any, qkv_nw: Tensor, turns: Tensor) -> Tensor:
        ctx.turns = turns
        _rotate(qkv_nw, turns)
        ctx.mark_dirty(qkv_nw)
        return qkv_nw

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        # Nobody else holds this gradient: it was just put together from those of queries, keys and values.
        grad = grads[0].contiguous()
        _rotate(grad, ctx.turns.conj().resolve_conj())
        return grad, None


def _rotate(packed_nw: Tensor, turns: Tensor) -> None:
    width = packed_nw.shape[1] // 3
    pairs = torch.view_as_complex(packed_nw.view(-1, len(turns), 3, width // 2, 2))
    pairs[:, :, :2].mul_(turns)


class _SwiGLU(torch.autograd.Function):
    """`silu(gate) * up` of a packed [tokens, 2 x hidden] projection, which its gradient overwrites."""

    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        gate, up = gate_up.chunk(2, dim=1)
        activated = F.silu(gate)
        ctx.save_for_backward(gate_up, activated)
        return activated * up

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        gate_up: Tensor
        gate_up, activated = ctx.saved_tensors
        gate, up = gate_up.chunk(2, dim=1)
        grad_activated = grads[0] * up
        torch.mul(grads[0], activated, out=up)
        torch.ops.aten.silu_backward.grad_input(grad_activated, gate, grad_input=gate)
        return gate_up


class Block(nn.Module):
    """Attention and SwiGLU, each after an RMSNorm and added to the stream."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.heads = width // HEAD_DIM
        self.attention_norm = nn.Parameter(torch.empty(width))
        self.qkv = nn.Parameter(torch.empty(3 * width, width))
        self.attention_out = nn.Parameter(torch.empty(width, width))
        self.mlp_norm = nn.Parameter(torch.empty(width))
        self.gate_up = nn.Parameter(torch.empty(2 * hidden, width))
        self.mlp_out = nn.Parameter(torch.empty(width, hidden))

    def forward(self, x_nd: Tensor, turns: Tensor) -> Tensor:
        """One layer on the stream [batch x time, width]; `turns` [time, ...] tells how long a window is."""
        time, width = len(turns), x_nd.shape[1]
        qkv = F.rms_norm(x_nd, (width,), self.attention_norm, EPS) @ self.qkv.t()
        qkv = _apply(_Rotate, qkv, turns)
        q, k, v = qkv.view(-1, time, 3, self.heads, HEAD_DIM).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(-1, width)
        x_nd = torch.addmm(x_nd, mixed, self.attention_out.t())
        gate_up = F.rms_norm(x_nd, (width,), self.mlp_norm, EPS) @ self.gate_up.t()
        return torch.addmm(x_nd, _apply(_SwiGLU, gate_up), self.mlp_out.t())


class Decoder(nn.Module):
    """The model of a `ProxySpec`; its weights are a function of `spec.seed`."""

    turns: Tensor

    def __init__(self, spec: ProxySpec) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(spec.vocab_size, spec.width))
        self.blocks = nn.ModuleList(Block(spec.width, spec.hidden) for _ in range(spec.depth))
        self.norm = nn.Parameter(torch.empty(spec.width))
        self.register_buffer("turns", _turns(spec.context, spec.depth), persistent=False)
        self._initialise(spec.seed)

    @torch.no_grad()
    def _initialise(self, seed: int) -> None:
        state = np.random.SeedSequence([seed, crc32(b"initial weights")]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
        depth = len(self.blocks)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 1:
                parameter.fill_(1.0)
                continue
            std = EMBEDDING_STD if name == "embedding" else parameter.shape[1] ** -0.5
            if name.endswith("_out"):
                std /= math.sqrt(2 * depth)  # so that the stream's variance does not grow with depth
            parameter.normal_(0.0, std, generator=generator)

    def forward(self, tokens_bt: Tensor) -> Tensor:
        """Final hidden states, [batch x time, width], in the order of `tokens_bt.flatten()`."""
        width = self.embedding.shape[1]
        x_nd = F.embedding(tokens_bt.reshape(-1), self.embedding)
        turns = self.turns[: tokens_bt.shape[1]]
        for block in self.blocks:
            x_nd = block(x_nd, turns)
        return F.rms_norm(x_nd, (width,), self.norm, EPS)

    def loss(self, windows_bt: Tensor) -> Tensor:
        """Mean loss in nats of a batch of windows [batch, context + 1]."""
        return cross_entropy(self(windows_bt[:, :-1]), self.embedding, windows_bt[:, 1:].reshape(-1))

    @torch.no_grad()
    def window_losses(self, windows_bt: Tensor) -> Tensor:
        """Mean loss in nats of each window, [batch]."""
        losses = token_losses(self(windows_bt[:, :-1]), self.embedding, windows_bt[:, 1:].reshape(-1))
        return losses.view(len(windows_bt), -1).mean(dim=1)


def _turns(context: int, heads: int) -> Tensor:
    """Unit complex numbers by which pairs are turned, [context, 1, heads x HEAD_DIM / 2]."""
    rates = ROPE_BASE ** (-torch.arange(0, HEAD_DIM, 2, dtype=torch.float64) / HEAD_DIM)
    angles = torch.outer(torch.arange(context, dtype=torch.float64), rates)
    turns = torch.polar(torch.ones_like(angles), angles).to(torch.complex64)
    return turns.repeat(1, heads)[:, None, :].contiguous()
