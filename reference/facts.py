"""Writes `torchvision_facts.json`: names, shapes, parameters, modules and multiply-adds of every network and cut."""

import golden
import networks
import torch


def modules(model) -> int:
    return len(list(model.modules()))


def state(model) -> list:
    return [[name, list(value.shape)] for name, value in model.state_dict().items()]


def cut_facts(family: str, cut: networks.Cut) -> dict:
    net = networks.CutNet(family, cut.name, 6)
    assert net.out_channels == cut.out_channels
    trunk_parameters = networks.parameters(net) - 6 * (cut.out_channels + 1)
    return {
        "name": cut.name,
        "stage": cut.stage,
        "out_channels": cut.out_channels,
        "spatial_at_224": cut.spatial_at_224,
        "trunk_parameters": trunk_parameters,
        "parameters_6": networks.parameters(net),
        "modules": modules(net),
        "multiply_adds_6": networks.multiply_adds(net, 224),
        "state_entries": len(net.state_dict()),
    }


def family_facts(family: str) -> dict:
    thousand, six = networks.build(family, 1000), networks.build(family, 6)
    facts = {
        "head": networks.HEAD[family],
        "modules": modules(thousand),
        "parameters_1000": networks.parameters(thousand),
        "parameters_6": networks.parameters(six),
        "multiply_adds_1000": networks.multiply_adds(thousand, 224),
        "multiply_adds_6": networks.multiply_adds(six, 224),
        "batch_norm": batch_norm(thousand),
        "state_1000": state(thousand),
        "cuts": [cut_facts(family, cut) for cut in networks.cuts(family)],
    }
    return facts


def batch_norm(model) -> dict | None:
    settings = {(m.eps, m.momentum) for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)}
    assert len(settings) <= 1
    return dict(zip(["eps", "momentum"], settings.pop())) if settings else None


if __name__ == "__main__":
    families = {family: family_facts(family) for family in networks.FAMILIES}
    golden.write_json("torchvision_facts.json", {"versions": golden.versions(), "families": families})
