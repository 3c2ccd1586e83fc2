"""The networks of the benchmarks in torchvision, by elimnet's names: `resnet18`, `efficientnet_b0@80`, ..."""

import torchvision
from torch import nn

RESNET_STAGES = {64: "layer1", 128: "layer2", 256: "layer3", 512: "layer4"}


def network(name, classes):
    """Torchvision's network, random weights; cut behind the last block that puts out the channels after `@`."""
    family, _, channels = name.partition("@")
    net = getattr(torchvision.models, family)(num_classes=classes)
    if not channels:
        return net
    return cut(net, int(channels), classes)


def cut(net, channels, classes):
    if isinstance(net, torchvision.models.ResNet):
        stages = list(RESNET_STAGES.values())
        for stage in stages[stages.index(RESNET_STAGES[channels]) + 1 :]:
            setattr(net, stage, nn.Identity())
        net.fc = nn.Linear(channels, classes)
        return net
    ends = [index for index, block in enumerate(net.features) if last_width(block) == channels]
    return nn.Sequential(net.features[: ends[-1] + 1], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def last_width(block):
    return [module.out_channels for module in block.modules() if isinstance(module, nn.Conv2d)][-1]
