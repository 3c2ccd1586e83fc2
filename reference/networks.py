"""The seven torchvision networks, where they are cut, and what is kept at a cut."""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn
from torchvision import models

FAMILIES = [
    "resnet18",
    "efficientnet_b0",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "mobilenet_v2",
    "mnasnet1_0",
    "vgg11",
]

# The name of each family's last linear layer; the head of a cut network keeps it.
HEAD = {
    "resnet18": "fc",
    "efficientnet_b0": "classifier.1",
    "mobilenet_v3_large": "classifier.3",
    "mobilenet_v3_small": "classifier.3",
    "mobilenet_v2": "classifier.1",
    "mnasnet1_0": "classifier.1",
    "vgg11": "classifier.6",
}

VGG11_ENDS = [2, 5, 7, 10, 12, 15, 17, 20]


def build(family: str, classes: int) -> nn.Module:
    return getattr(models, family)(weights=None, num_classes=classes)


def trunk_name(family: str) -> str:
    return "layers" if family.startswith("mnasnet") else "features"


def block_names(family: str) -> list[str]:
    """Every block of the trunk in order, as the torchvision name of the module that ends it."""
    if family == "resnet18":
        return ["maxpool"] + [f"layer{i}.{j}" for i in range(1, 5) for j in range(2)]
    if family == "vgg11":
        return [f"features.{i}" for i in VGG11_ENDS]
    trunk = getattr(build(family, 10), trunk_name(family))
    if family == "efficientnet_b0":
        stages = range(1, len(trunk) - 1)
        inner = [f"features.{i}.{j}" for i in stages for j in range(len(trunk[i]))]
        return ["features.0", *inner, f"features.{len(trunk) - 1}"]
    if family == "mnasnet1_0":
        inner = [f"layers.{i}.{j}" for i in range(8, 14) for j in range(len(trunk[i]))]
        return ["layers.7", *inner, "layers.16"]
    return [f"features.{i}" for i in range(len(trunk))]


def trunk(family: str, model: nn.Module) -> nn.Module:
    """The convolutional part of a torchvision model as one module that shares its parameters."""
    if family == "resnet18":
        stem = [(name, getattr(model, name)) for name in ["conv1", "bn1", "relu", "maxpool"]]
        layers = [(f"layer{i}", getattr(model, f"layer{i}")) for i in range(1, 5)]
        return nn.Sequential(OrderedDict(stem + layers))
    return getattr(model, trunk_name(family))


def keep(sequence: nn.Sequential, path: list[str]) -> nn.Sequential:
    """The children of `sequence` up to the one that `path` names, cut inside it if the path goes on."""
    kept = OrderedDict()
    for name, child in sequence.named_children():
        if name != path[0]:
            kept[name] = child
            continue
        kept[name] = keep(child, path[1:]) if len(path) > 1 else child
        return nn.Sequential(kept)
    raise KeyError(path)


class CutNet(nn.Module):
    """A torchvision network whose blocks after `cut` are gone: trunk, average pool, one linear.

    Names (and so the state dict) are torchvision's; `classifier` keeps only its last linear, under its old index.
    """

    def __init__(self, family: str, cut: str, classes: int):
        super().__init__()
        model = build(family, classes)
        path = cut.split(".")
        if family != "resnet18":
            path = path[1:]
        kept = keep(trunk(family, model), path)
        self.trunk_children = []
        if family == "resnet18":
            for name, child in kept.named_children():
                self.add_module(name, child)
                self.trunk_children.append(name)
        else:
            self.add_module(trunk_name(family), kept)
            self.trunk_children.append(trunk_name(family))
        if hasattr(model, "avgpool"):
            self.avgpool = nn.AdaptiveAvgPool2d(1)
        channels = kept.eval()(torch.zeros(1, 3, 64, 64)).shape[1]
        kept.train()
        linear = nn.Linear(channels, classes)
        if family == "resnet18":
            self.fc = linear
        else:
            index = HEAD[family].split(".")[1]
            self.classifier = nn.Sequential(OrderedDict([(index, linear)]))
        self.out_channels = channels


    def trunk_forward(self, x):
        for name in self.trunk_children:
            x = self._modules[name](x)
        return x

    def forward(self, x):
        x = self.trunk_forward(x).mean([2, 3])
        return self.fc(x) if "fc" in self._modules else self.classifier(x)


@dataclass
class Cut:
    name: str
    stage: bool
    out_channels: int
    spatial_at_224: list[int]


def cuts(family: str) -> list[Cut]:
    """Every cut, and whether it ends a stage: the next block's output has another shape, or there is none.

    VGG has no stages of equal shape; its stages end with a max-pool.
    """
    names = block_names(family)
    shapes = block_shapes(family, names)
    following = shapes[1:] + [None]
    pools = {"features.2", "features.5", "features.10", "features.15", "features.20"}
    return [
        Cut(name, name in pools if family == "vgg11" else shape != after, shape[0], list(shape[1:]))
        for name, shape, after in zip(names, shapes, following)
    ]


def block_shapes(family: str, names: list[str]) -> list[tuple]:
    outputs = block_outputs(family, build(family, 10).eval(), names, torch.zeros(1, 3, 224, 224))
    return [tuple(outputs[name].shape[1:]) for name in names]


@torch.no_grad()
def block_outputs(family: str, model: nn.Module, names: list[str], x: torch.Tensor) -> dict:
    """The activations after every named block, from one pass."""
    outputs = {}
    modules = dict(model.named_modules())

    def keeper(name):
        return lambda _module, _inputs, output: outputs.__setitem__(name, output.clone())

    hooks = [modules[name].register_forward_hook(keeper(name)) for name in names]
    model(x)
    for hook in hooks:
        hook.remove()
    return outputs


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@torch.no_grad()
def multiply_adds(model: nn.Module, size: int) -> int:
    """Of convolutions and linears, biases not counted, for one image."""
    total = 0

    def count(module, inputs, output):
        nonlocal total
        if isinstance(module, nn.Conv2d):
            kernel = module.kernel_size[0] * module.kernel_size[1]
            total += output.numel() * kernel * module.in_channels // module.groups
        else:
            total += output.numel() * module.in_features

    layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    hooks = [m.register_forward_hook(count) for m in layers]
    model.eval()(torch.zeros(1, 3, size, size))
    for hook in hooks:
        hook.remove()
    return total
