"""Pairs timm's tensor names with torchvision's and notes what torchvision publishes.

Usage: python reference/write_names.py [crates/elimnet/tests/fixtures/weights]

Both libraries list the tensors of these networks in the order of the forward pass, so the n-th belongs to
the n-th. That the pairing is right is shown by running both networks on the same weights: their logits
are equal (with timm's batch-norm eps, where that differs).
"""

import json
import sys
from pathlib import Path

import timm
import torch
import torchvision
from torch.nn import BatchNorm2d

TIMM_NAMES = {
    "resnet18": "resnet18",
    "efficientnet_b0": "efficientnet_b0",
    "mobilenet_v3_large": "mobilenetv3_large_100",
    "mobilenet_v3_small": "mobilenetv3_small_100",
    "mobilenet_v2": "mobilenetv2_100",
    "mnasnet1_0": "mnasnet_100",
    "vgg11": "vgg11",
}


def randomize(model):
    """Gives batch norm statistics and weights that make a wrong pairing visible."""
    for module in model.modules():
        if isinstance(module, BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, 0, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.1)


def pairs(network):
    torch.manual_seed(0)
    ours = torchvision.models.get_model(network).eval()
    theirs = timm.create_model(TIMM_NAMES[network]).eval()
    randomize(theirs)
    paired = list(zip(theirs.state_dict().items(), ours.state_dict().items(), strict=True))
    state = ours.state_dict()  # keeps the version that MNASNet asks for
    state.update({name: tensor.reshape(old.shape) for (_, tensor), (name, old) in paired})
    ours.load_state_dict(state)
    eps = next((module.eps for module in theirs.modules() if isinstance(module, BatchNorm2d)), None)
    for module in ours.modules():
        if isinstance(module, BatchNorm2d):
            module.eps = eps
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        found, expected = ours(images), theirs(images)
    difference = ((found - expected).abs().max() / expected.abs().max()).item()
    assert difference < 1e-5, (network, difference)
    return [[a, list(x.shape), b, list(y.shape)] for (a, x), (b, y) in paired]


def published(network):
    weights = torchvision.models.get_model_weights(network).IMAGENET1K_V1
    preset = weights.transforms()
    return {
        "url": weights.url,
        "classes": len(weights.meta["categories"]),
        "resize": preset.resize_size[0],
        "crop": preset.crop_size[0],
        "interpolation": preset.interpolation.value,
        "mean": preset.mean,
        "std": preset.std,
    }


def main(folder):
    for network, timm_name in TIMM_NAMES.items():
        rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in pairs(network))
        head = json.dumps({"timm": timm_name, "published": published(network)})
        (folder / f"names_{network}.json").write_text(f'{head[:-1]}, "tensors": [\n{rows}\n]}}\n')
        print(network, "paired; logits are equal")


if __name__ == "__main__":
    here = Path(__file__).resolve().parent.parent
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else here / "crates/elimnet/tests/fixtures/weights")
