"""Writes the small checkpoints that `crates/elimnet/tests/weights_*.rs` read.

Usage: python reference/write_checkpoints.py [crates/elimnet/tests/fixtures/weights]

Every file holds (a variation of) the same state dict, whose values a test can write down:
`conv.weight` [2, 3, 1, 2] counts 0, 0.5, 1, ...; `bn.num_batches_tracked` is the integer 7.
"""

import argparse
import sys
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file


def state_dict(dtype=torch.float32):
    return OrderedDict(
        [
            ("conv.weight", (torch.arange(12, dtype=torch.float32) / 2).reshape(2, 3, 1, 2).to(dtype)),
            ("conv.bias", torch.tensor([-1.0, 2.0]).to(dtype)),
            ("bn.num_batches_tracked", torch.tensor(7, dtype=torch.int64)),
        ]
    )


def views():
    """Tensors that are not laid out as they are indexed, three of them over one storage."""
    base = torch.arange(24, dtype=torch.float32)
    grid = base.reshape(4, 6)
    return OrderedDict(
        [
            ("transposed", grid.t()),
            ("tail", base[20:]),
            ("every_other_column", grid[:, 1::2]),
            ("expanded", torch.tensor([3.0]).expand(2, 2)),
            ("scalar", torch.tensor(1.5)),
            ("empty", torch.zeros(0, 3)),
        ]
    )


class Malicious:
    """What an attacker would save: unpickling it would run a shell command."""

    def __reduce__(self):
        import os

        return os.system, ("echo this must never run",)


class Callback:
    """An object of a class that only its own training script knows."""


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    plain = state_dict()
    training_state = {
        "epoch": 3,
        "best": 0.5,
        "note": "caf\u00e9",
        "args": argparse.Namespace(lr=0.1),
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
    }
    torch.save(plain, folder / "zip.pth")
    torch.save(plain, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(plain, folder / "protocol_4.pth", pickle_protocol=4)
    torch.save(state_dict(torch.float16), folder / "f16.pth")
    torch.save(state_dict(torch.bfloat16), folder / "bf16.pth")
    torch.save(state_dict(torch.float64), folder / "f64.pth")
    torch.save(views(), folder / "views.pth")
    torch.save(views(), folder / "views_legacy.pth", _use_new_zipfile_serialization=False)
    for key in ["state_dict", "model", "model_state", "model_state_dict"]:
        torch.save({**training_state, key: plain}, folder / f"nested_{key}.pth")
    torch.save({"module." + name: value for name, value in plain.items()}, folder / "data_parallel.pth")
    parameters = {name: torch.nn.Parameter(value) for name, value in plain.items() if value.is_floating_point()}
    torch.save(parameters, folder / "parameters.pth")
    torch.save({**plain, "hook": Malicious()}, folder / "malicious.pth")
    torch.save({**plain, "hook": Malicious()}, folder / "malicious_legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(torch.nn.Linear(2, 1), folder / "whole_module.pth")
    torch.save({**plain, "callback": Callback()}, folder / "unknown_class.pth")
    torch.save({"epoch": 3, "history": [0.5, 0.25]}, folder / "no_tensors.pth")
    torch.save({"weight": torch.zeros(2, dtype=torch.complex64)}, folder / "complex.pth")
    save_file(dict(plain), folder / "plain.safetensors", metadata={"note": "caf\u00e9"})
    save_file(dict(state_dict(torch.bfloat16)), folder / "bf16.safetensors")
    save_file(dict(state_dict(torch.float16)), folder / "f16.safetensors")


if __name__ == "__main__":
    here = Path(__file__).resolve().parent.parent
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else here / "crates/elimnet/tests/fixtures/weights")
