"""Writes `train_step_<family>.{json,safetensors}`: one training step in f64, and how far torch's f32 is from it.

Train mode, dropout and stochastic depth off, mean cross-entropy, formula weights and images. A tensor too large to
ship is a checksum: its norm, four sums with the signs `formula.signs("sign{k}.{name}")`, and sixteen of its entries.
The sums measure a distance: for random signs s, E[(s . a - s . b)^2] = |a - b|^2. Batch statistics are shipped whole.
`torch_f32_distance` is relative (L2), `torch_f32_error` of a checksum is the plain L2 norm of the difference, because
some gradients are 0 but for rounding.
"""

import formula
import golden
import networks
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.ops import StochasticDepth

FAMILIES = ["resnet18", "efficientnet_b0", "mobilenet_v3_large"]
CLASSES, SIZE = 10, 64
LABELS = [1, 7, 3, 0]
FIRST_IMAGE = {"resnet18": 22, "efficientnet_b0": 0, "mobilenet_v3_large": 10}  # away from kinks, see kinks.py
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-4),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01),
}


def network(family: str, dtype):
    net = networks.build(family, CLASSES)
    formula.fill(net)
    for module in net.modules():
        if isinstance(module, (nn.Dropout, StochasticDepth)):
            module.p = 0.0
    return net.to(dtype).train()


def step(family: str, dtype) -> dict:
    """Loss, logits, gradients, running statistics, and each optimizer's change of the parameters."""
    net = network(family, dtype)
    first = FIRST_IMAGE[family]
    images = formula.images(first + len(LABELS), 3, SIZE)[first:]
    logits = net(torch.from_numpy(images).to(dtype))
    loss = nn.functional.cross_entropy(logits, torch.tensor(LABELS))
    loss.backward()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    found = {
        "loss": loss.detach().reshape(1),
        "logits": logits.detach(),
        "gradients": {name: p.grad.clone() for name, p in net.named_parameters()},
        "running": {name: b.clone() for name, b in net.named_buffers() if "running_" in name},
    }
    for name, optimizer in OPTIMIZERS.items() if family == "resnet18" else ():
        with torch.no_grad():
            for key, p in net.named_parameters():
                p.copy_(before[key])
        optimizer(net.parameters()).step()
        found[name] = {key: p.detach() - before[key] for key, p in net.named_parameters()}
    return found


def distance(single: torch.Tensor, double: torch.Tensor) -> float:
    """Relative L2."""
    return float(f"{(single.double() - double).norm() / double.norm():.3g}")


def whole(single, double) -> dict:
    return {"values": double.reshape(-1).tolist(), "torch_f32_distance": distance(single, double)}


def sample(count: int) -> list[int]:
    """Up to 16 indices, the first and the last among them."""
    return list(range(count)) if count <= 16 else [k * (count - 1) // 15 for k in range(16)]


def checksum(name: str, single, double) -> dict:
    flat = double.reshape(-1)
    signs = (torch.from_numpy(formula.signs(f"sign{k}.{name}", flat.numel())) for k in range(4))
    return {
        "name": name,
        "shape": list(double.shape),
        "norm": rounded(flat.norm()),
        "signed": [rounded(flat @ s) for s in signs],
        "sample": [rounded(v) for v in flat[sample(flat.numel())]],
        "torch_f32_error": float(f"{(single.double() - double).norm():.3g}"),
    }


def rounded(value) -> float:
    return float(f"{float(value):.10g}")


def checksums(single: dict, double: dict) -> list[dict]:
    return [checksum(name, single[name], double[name]) for name in double]


def write(family: str) -> None:
    single, double = step(family, torch.float32), step(family, torch.float64)
    content = {"versions": golden.versions(), "classes": CLASSES, "size": SIZE}
    content |= {"first_image": FIRST_IMAGE[family], "labels": LABELS}
    content |= {name: whole(single[name], double[name]) for name in ["loss", "logits"]}
    content["gradients"] = checksums(single["gradients"], double["gradients"])
    running = {name: distance(single["running"][name], value) for name, value in double["running"].items()}
    content["running_torch_f32_distance"] = running
    content |= {name: checksums(single[name], double[name]) for name in OPTIMIZERS if name in double}
    golden.write_json(f"train_step_{family}.json", content)
    values = {name: value.float().contiguous() for name, value in double["running"].items()}
    save_file(values, golden.DIRECTORY / f"train_step_{family}.safetensors", golden.versions())
    worst = {name: worst_error(content[name]) for name in ["gradients", *OPTIMIZERS] if name in content}
    print(family, content["loss"], worst, max(running.values()))


def worst_error(rows: list[dict]) -> tuple[float, str]:
    """The largest error over the tensor's norm; some norms are 0 but for rounding (a shift before a batch norm)."""
    return max((row["torch_f32_error"] / row["norm"], row["name"]) for row in rows if row["norm"] > 1e-9)



if __name__ == "__main__":
    for family in FAMILIES:
        write(family)
