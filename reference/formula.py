"""Weights and images from a formula, evaluated identically here and in `elimnet_testing::formula`.

A tensor is a pure function of its name and shape, so the golden files ship no weights.

    state = fnv1a64(name)                                    64-bit FNV-1a of the UTF-8 name
    z_i   = splitmix64_finalizer(state + (i + 1) * 0x9E3779B97F4A7C15)   wrapping, i in C order of the torch shape
    u_i   = (z_i >> 40) * 2^-24                              exact in f64, in [0, 1)
    v_i   = 2 u_i - 1

What is made of `u` and `v` depends on the last component of the name and, for `weight`, on the number of axes:

    running_mean              0.2 v
    running_var               0.5 + u
    num_batches_tracked       0
    bias                      0.1 v
    weight, 1 axis            0.75 + 0.5 u                   batch norm
    weight, 2 axes            v * sqrt(3 / fan_in)           linear
    weight, 3 or more axes    v * sqrt(6 / fan_in)           convolution
    anything else             v

`fan_in` is the product of all axes but the first. All of it in f64, rounded once to f32 at the end.

The gain of a convolution was measured: with sqrt(5 / fan_in) the logits of EfficientNet-B0 depend on the image by 4e-3
of their size, with sqrt(6 / fan_in) by 0.15, so that a mistake in an early block shows in the logits. The price is
that MnasNet's reach 1350.
"""

import math

import numpy as np

GOLDEN_RATIO = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1


def fnv1a64(name: str) -> int:
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = ((state ^ byte) * 0x100000001B3) & MASK
    return state


def uniform(name: str, count: int) -> np.ndarray:
    """`count` values in [0, 1), multiples of 2^-24, as f64."""
    with np.errstate(over="ignore"):
        z = np.uint64(fnv1a64(name)) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN_RATIO)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) * 2.0**-24


def symmetric(name: str, count: int) -> np.ndarray:
    """`count` values in [-1, 1), as f64."""
    return 2.0 * uniform(name, count) - 1.0


def tensor(name: str, shape) -> np.ndarray:
    """The f32 tensor that the formula gives for a state dict entry."""
    shape = tuple(shape)
    count = math.prod(shape)
    u = uniform(name, count)
    v = 2.0 * u - 1.0
    kind = name.rsplit(".", 1)[-1]
    fan_in = math.prod(shape[1:])
    if kind == "running_mean":
        values = v * 0.2
    elif kind == "running_var":
        values = u + 0.5
    elif kind == "num_batches_tracked":
        values = v * 0.0
    elif kind == "bias":
        values = v * 0.1
    elif kind == "weight" and len(shape) == 1:
        values = u * 0.5 + 0.75
    elif kind == "weight" and len(shape) == 2:
        values = v * math.sqrt(3.0 / fan_in)
    elif kind == "weight":
        values = v * math.sqrt(6.0 / fan_in)
    else:
        values = v
    return values.astype(np.float32).reshape(shape)


def images(count: int, channels: int, size: int) -> np.ndarray:
    """`[count, channels, size, size]` images, `2 v` of the name "input"."""
    shape = (count, channels, size, size)
    return (2.0 * symmetric("input", math.prod(shape))).astype(np.float32).reshape(shape)


def signs(name: str, count: int) -> np.ndarray:
    """+1 where v >= 0, else -1."""
    return np.where(symmetric(name, count) >= 0.0, 1.0, -1.0)


def fill(model) -> None:
    """Overwrites every entry of a torch module's state dict with the formula's value."""
    import torch

    state = model.state_dict()
    with torch.no_grad():
        for name, value in state.items():
            value.copy_(torch.from_numpy(tensor(name, value.shape)))


if __name__ == "__main__":
    # The values that `formula.rs` has hard-coded in its tests.
    for name, shape in [
        ("conv1.weight", (2, 3, 7, 7)),
        ("bn1.weight", (4,)),
        ("bn1.bias", (4,)),
        ("bn1.running_mean", (4,)),
        ("bn1.running_var", (4,)),
        ("fc.weight", (3, 5)),
        ("input", (4,)),
    ]:
        bits = tensor(name, shape).reshape(-1)[:4].view(np.uint32)
        print(name, shape, f"state {fnv1a64(name):#018x}", [f"{b:#010x}" for b in bits])
    last = images(2, 3, 5).reshape(-1)
    print("images(2, 3, 5)", [f"{b:#010x}" for b in last[[0, 1, 149]].view(np.uint32)])
    print("signs sign0.fc.weight", signs("sign0.fc.weight", 12).astype(int).tolist())
