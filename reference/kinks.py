"""Looks for the batch whose training step f32 can reproduce; `train_step.FIRST_IMAGE` has what it found.

A gradient jumps where an activation has a kink and where two values of a max-pool window tie: one such element of 8192
on the wrong side of 0 moves the gradient of layer4 by 1 %, which would hide real mistakes. This prints the batches (by
their first image) with the largest margin: the smallest distance from a kink over the largest f32 error at that layer.
"""

import sys

import formula
import torch
import train_step
from torch import nn

KINKS = {nn.ReLU: [0.0], nn.ReLU6: [0.0, 6.0], nn.Hardswish: [-3.0, 3.0], nn.Hardsigmoid: [-3.0, 3.0]}
CANDIDATES = 40


@torch.no_grad()
def inputs(net, images) -> list:
    """(module, its input) for every module with a kink, in order of execution."""
    found = []
    watched = [m for m in net.modules() if type(m) in KINKS or isinstance(m, nn.MaxPool2d)]
    hooks = [m.register_forward_pre_hook(lambda m, x: found.append((m, x[0].clone()))) for m in watched]
    net(images)
    for hook in hooks:
        hook.remove()
    return found


def gap(module, x) -> float:
    if type(module) in KINKS:
        return min((x - kink).abs().min().item() for kink in KINKS[type(module)])
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    windows = nn.functional.unfold(padded, 3, stride=2).reshape(*x.shape[:2], 9, -1)
    first, second = windows.topk(2, dim=2).values.unbind(2)
    return (first - second)[first > 0].min().item()  # ties of zeros pass no gradient: a ReLU is before the pool


def margin(single, double, images) -> float:
    pairs = zip(inputs(single, images), inputs(double, images.double()))
    return min(gap(m, d) / (s.double() - d).abs().max().item() for (_, s), (m, d) in pairs)


if __name__ == "__main__":
    size, batch = train_step.SIZE, len(train_step.LABELS)
    images = torch.from_numpy(formula.images(CANDIDATES + batch, 3, size))
    for family in sys.argv[1:]:
        single, double = (train_step.network(family, dtype) for dtype in [torch.float32, torch.float64])
        margins = [(margin(single, double, images[k : k + batch]), k) for k in range(CANDIDATES)]
        print(family, sorted(margins, reverse=True)[:3])
