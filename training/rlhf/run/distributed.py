"""Sums and barriers of several processes that train one model.

Every process holds the whole model, reads its own rows, and divides by the count of all; the sum of
the gradients is then the gradient that one process would have found.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from training.rlhf.config import ConfigError
from training.rlhf.run import ranks

T = TypeVar("T")

PATIENCE = timedelta(days=7)
"""Time a process waits for the others: the first one evaluates and samples alone. A launcher
ends all of them when one dies."""
BUCKET = 2**24
"""Numbers that are summed in one message."""


def begin() -> None:
    """Join the other processes until this one ends, where a launcher started several."""
    if ranks.size() == 1 or dist.is_initialized():
        return
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(ranks.local_rank())
    # Codes and barriers go over the CPU, where waiting costs nothing.
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=PATIENCE)
    atexit.register(dist.destroy_process_group)


def agree(code: int) -> int:
    """The greatest code of all processes, once all have come here."""
    if ranks.size() == 1:
        return code
    greatest = torch.tensor([code])
    dist.all_reduce(greatest, dist.ReduceOp.MAX)
    return int(greatest)


def total(values: Tensor) -> Tensor:
    """The sum of a tensor over all processes."""
    if ranks.size() == 1:
        return values
    summed = values.clone()
    dist.all_reduce(summed)
    return summed


def gather(mine: Sequence[T]) -> list[T]:
    """Every process's part of what `ranks.share` dealt out, in the order it had before."""
    if ranks.size() == 1:
        return list(mine)
    parts: list[Any] = [None] * ranks.size()
    dist.all_gather_object(parts, list(mine))
    whole = sum(map(len, parts))
    return [parts[place % len(parts)][place // len(parts)] for place in range(whole)]


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give every process the sum of all gradients.

    A parameter that no process used stays without one, or the optimiser would decay it.
    """
    if ranks.size() == 1:
        return
    each = list(parameters)
    used = total(torch.tensor([p.grad is not None for p in each], device=each[0].device).int())
    used_by_any = [p for p, times in zip(each, used.tolist(), strict=True) if times]
    for parameter in used_by_any:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    for bucket in _buckets(used_by_any):
        gradients = [p.grad for p in bucket if p.grad is not None]
        summed = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(summed)
        parts = torch.split(summed, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))


def _buckets(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Parameters of one kind of number, about BUCKET numbers at a time."""
    bucket: list[nn.Parameter] = []
    filled = 0
    for parameter in sorted(parameters, key=lambda p: str(p.dtype)):
        if bucket and (filled > BUCKET or parameter.dtype != bucket[0].dtype):
            yield bucket
            bucket, filled = [], 0
        bucket.append(parameter)
        filled += parameter.numel()
    if bucket:
        yield bucket


@torch.no_grad()
def spread(parameters: Iterable[nn.Parameter]) -> None:
    """Give every process the first one's weights: fits on other processors differ by rounding."""
    if ranks.size() > 1:
        for parameter in parameters:
            dist.broadcast(parameter.data, src=0)


def require_whole_model(command: str) -> None:
    """Raise ConfigError where the launcher was told to cut a model up that has to be whole."""
    for variable, name in (
        ("ACCELERATE_USE_FSDP", "FSDP"),
        ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed"),
    ):
        if ranks.size() > 1 and os.environ.get(variable, "").lower() in ("1", "true"):
            raise ConfigError(
                f"{command} keeps a whole model in every process: launch it with "
                f"config/accelerate/ddp.yaml instead of {name}"
            )


def per_process(batch_size: int, name: str) -> int:
    """A batch's rows in each process.

    Raises:
        ConfigError: they cannot be dealt out evenly.
    """
    if batch_size % ranks.size():
        raise ConfigError(f"{name} {batch_size} cannot be divided among {ranks.size()} processes")
    return batch_size // ranks.size()
