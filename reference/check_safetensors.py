"""Checks that a file we saved holds bit for bit what a PyTorch checkpoint holds, and loads into torchvision.

Usage: python reference/check_safetensors.py NETWORK CHECKPOINT.pth SAVED.safetensors
where SAVED was written by: cargo run -p elimnet --example convert_weights -- CHECKPOINT.pth SAVED.safetensors
"""

import sys

import torch
import torchvision
from safetensors.torch import load_file


def main(network, checkpoint, saved):
    expected = torch.load(checkpoint, map_location="cpu", weights_only=True)
    found = load_file(saved)
    assert found.keys() == expected.keys(), found.keys() ^ expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, (name, found[name].dtype, tensor.dtype)
        assert torch.equal(found[name], tensor), name
    heads = [tensor for tensor in expected.values() if tensor.ndim == 2]
    model = getattr(torchvision.models, network)(num_classes=heads[-1].shape[0])
    print(network, len(found), "tensors equal;", model.load_state_dict(found, strict=True))


if __name__ == "__main__":
    main(*sys.argv[1:4])
