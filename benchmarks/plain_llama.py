"""The proxy's model as one would plainly write it in PyTorch: the yardstick of the trainer benchmark."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from proxies.models.decoder import EPS, ROPE_BASE, Block, Decoder
from proxies.spec import HEAD_DIM


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // HEAD_DIM
        self.wq = nn.Linear(width, width, bias=False)
        self.wk = nn.Linear(width, width, bias=False)
        self.wv = nn.Linear(width, width, bias=False)
        self.wo = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        batch, time, width = x.shape
        q = self.wq(x).view(batch, time, self.heads, HEAD_DIM)
        k = self.wk(x).view(batch, time, self.heads, HEAD_DIM)
        v = self.wv(x).view(batch, time, self.heads, HEAD_DIM)
        q, k = rotate(q, turns), rotate(k, turns)
        out = F.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True
        )
        return self.wo(out.transpose(1, 2).reshape(batch, time, width))


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turns).flatten(3)


class Layer(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(width, eps=EPS)
        self.attention = Attention(width)
        self.mlp_norm = nn.RMSNorm(width, eps=EPS)
        self.w1 = nn.Linear(width, hidden, bias=False)
        self.w2 = nn.Linear(hidden, width, bias=False)
        self.w3 = nn.Linear(width, hidden, bias=False)

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), turns)
        h = self.mlp_norm(x)
        return x + self.w2(F.silu(self.w1(h)) * self.w3(h))


class PlainLlama(nn.Module):
    """Separate projections, rotary positions by complex products, logits of the whole batch at once."""

    turns: Tensor

    def __init__(self, depth: int, vocab_size: int, width: int, hidden: int, context: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.layers = nn.ModuleList(Layer(width, hidden) for _ in range(depth))
        self.norm = nn.RMSNorm(width, eps=EPS)
        rates = 1.0 / ROPE_BASE ** (torch.arange(0, HEAD_DIM, 2).double() / HEAD_DIM)
        angles = torch.outer(torch.arange(context).double(), rates)
        turns = torch.polar(torch.ones_like(angles), angles).to(torch.complex64)
        self.register_buffer("turns", turns[:, None, :], persistent=False)

    @classmethod
    def of(cls, model: Decoder) -> PlainLlama:
        """The same weights as `model`."""
        vocab_size, width = model.embedding.shape
        blocks = [block for block in model.blocks if isinstance(block, Block)]
        hidden = blocks[0].mlp_out.shape[1]
        plain = cls(len(blocks), vocab_size, width, hidden, len(model.turns))
        with torch.no_grad():
            plain.embedding.weight.copy_(model.embedding)
            plain.norm.weight.copy_(model.norm)
            for layer, block in zip(plain.layers, blocks, strict=True):
                assert isinstance(layer, Layer)
                attention = layer.attention
                for linear, part in zip(
                    (attention.wq, attention.wk, attention.wv), block.qkv.chunk(3), strict=True
                ):
                    linear.weight.copy_(part)
                for linear, part in zip((layer.w1, layer.w3), block.gate_up.chunk(2), strict=True):
                    linear.weight.copy_(part)
                attention.wo.weight.copy_(block.attention_out)
                layer.w2.weight.copy_(block.mlp_out)
                layer.attention_norm.weight.copy_(block.attention_norm)
                layer.mlp_norm.weight.copy_(block.mlp_norm)
        return plain

    def loss(self, windows: Tensor) -> Tensor:
        """Mean cross-entropy of a batch of windows [batch, context + 1]."""
        x = self.embedding(windows[:, :-1])
        for layer in self.layers:
            x = layer(x, self.turns[: x.shape[1]])
        logits = F.linear(self.norm(x), self.embedding.weight)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), windows[:, 1:].reshape(-1))
