"""Writes `logits.json` and `features.safetensors`: eval-mode outputs of every network and cut.

Computed in f64 from f32 weights and images and rounded to f32; `torch_f32_distance` is how far torch's own f32 run is
from that, as the largest difference over the largest logit.
"""

import formula
import golden
import networks
import torch
from safetensors.torch import save_file

CLASSES = 10
BATCH = 2
SIZES = {"resnet18": [64, 75], "efficientnet_b0": [64, 75], "mobilenet_v3_large": [64, 75]}


@torch.no_grad()
def logits(net, size: int) -> dict:
    images = torch.from_numpy(formula.images(BATCH, 3, size))
    single = net.float()(images)
    double = net.double()(images.double())
    distance = (single - double).abs().max() / double.abs().max()
    assert double.isfinite().all() and distance < 1e-4, distance
    return {"logits": golden.single(double), "torch_f32_distance": float(f"{distance:.3g}")}


def filled(net):
    net = net.eval()
    formula.fill(net)
    return net


def family_rows(family: str) -> list[dict]:
    rows = []
    for cut in [None] + networks.cuts(family):
        net = filled(networks.CutNet(family, cut.name, CLASSES) if cut else networks.build(family, CLASSES))
        for size in SIZES.get(family, [64]):
            where = {"cut": cut and cut.name, "stage": cut is None or cut.stage, "size": size}
            rows.append(where | logits(net, size))
    return rows


def block_features(family: str) -> dict:
    """The mean over height and width after every block, `[BATCH, channels]`, at 64x64."""
    net = filled(networks.build(family, CLASSES)).double()
    images = torch.from_numpy(formula.images(BATCH, 3, 64)).double()
    outputs = networks.block_outputs(family, net, networks.block_names(family), images)
    return {f"{family}/{name}": out.mean([2, 3]).float().contiguous() for name, out in outputs.items()}


if __name__ == "__main__":
    features, families = {}, {}
    for family in networks.FAMILIES:
        families[family] = family_rows(family)
        features |= block_features(family)
        print(family, max(row["torch_f32_distance"] for row in families[family]), flush=True)
    settings = {"classes": CLASSES, "batch": BATCH}
    golden.write_json("logits.json", {"versions": golden.versions(), **settings, "families": families})
    save_file(features, golden.DIRECTORY / "features.safetensors", golden.versions())
