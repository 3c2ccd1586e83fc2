"""Writes `yaml_modules.json`: nets in the YAML language, a plain PyTorch reading of every module of it.

Every net has its text, its parameters, its tensors in order of construction, and its logits in eval mode. Order of
construction is torch's state dict order: within a module, as its layers run (the layers of a squeeze-and-excitation
where it stands, reduce then expand); weight, bias, running_mean, running_var within a layer. `num_batches_tracked` is
left out. Names are ours: `t{index}.{kind}`, and the formula gives their values.
"""

import math

import formula
import golden
import networks
import torch
import yaml
from torch import nn
from torch.nn import functional as F
from yaml_nets import HEAD, NETS

SIZE, BATCH = 32, 2


def make_divisible(value: float, divisor: int = 8) -> int:
    """The nearest multiple, at least one, and never less than 0.9 of the value."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def activation(name: str | None) -> nn.Module:
    return {
        None: nn.Identity,
        "ReLU": nn.ReLU,
        "ReLU6": nn.ReLU6,
        "Hardswish": nn.Hardswish,
        "HardSwish": nn.Hardswish,
        "HardSigmoid": nn.Hardsigmoid,
        "Swish": nn.SiLU,
        "SiLU": nn.SiLU,
        "Sigmoid": nn.Sigmoid,
        "Softmax": lambda: nn.Softmax(dim=-1),
        "GELU": nn.GELU,
    }[name]()


def conv_norm(c_in, c_out, kernel, stride=1, padding=None, groups=1, act=None) -> nn.Sequential:
    padding = kernel // 2 if padding is None else padding
    conv = nn.Conv2d(c_in, c_out, kernel, stride, padding, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out), act or nn.Identity())


class Residual(nn.Module):
    def __init__(self, inner: nn.Module, add: bool):
        super().__init__()
        self.inner, self.add = inner, add

    def forward(self, x):
        return x + self.inner(x) if self.add else self.inner(x)


class SqueezeExcitation(nn.Module):
    def __init__(self, channels: int, squeezed: int, act: nn.Module, gate: nn.Module):
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)
        self.act, self.gate = act, gate

    def forward(self, x):
        return x * self.gate(self.expand(self.act(self.reduce(x.mean([2, 3], keepdim=True)))))


class ConstantPad(nn.Module):
    """Zeros before and after, on both axes."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.before, self.after = before, after

    def forward(self, x):
        return F.pad(x, (self.before, self.after, self.before, self.after))


def conv(c_in, c_out, kernel, stride=1, padding=None, groups=1, act="ReLU"):
    return conv_norm(c_in, c_out, kernel, stride, padding, groups, activation(act))


def depthwise(c_in, c_out, kernel, stride=1, padding=None, act="ReLU"):
    return conv(c_in, c_out, kernel, stride, padding, math.gcd(c_in, c_out), act)


def conv_residual(c_in, c_out, kernel, stride=1, padding=None, groups=1, act="ReLU"):
    return Residual(conv(c_in, c_out, kernel, stride, padding, groups, act), stride == 1 and c_in == c_out)


def bottleneck(c_in, c_out, shortcut=True, groups=1, expansion=0.5, act="ReLU"):
    hidden = int(c_out * expansion)
    inner = nn.Sequential(conv(c_in, hidden, 1, act=act), conv(hidden, c_out, 3, groups=groups))
    return Residual(inner, shortcut and c_in == c_out)


def inverted_v2(c_in, c_out, ratio, stride):
    hidden = round(c_in * ratio)
    layers = [conv_norm(c_in, hidden, 1, act=nn.ReLU6())] if ratio != 1 else []
    layers += [conv_norm(hidden, hidden, 3, stride, groups=hidden, act=nn.ReLU6()), conv_norm(hidden, c_out, 1)]
    return Residual(nn.Sequential(*layers), stride == 1 and c_in == c_out)


def inverted_v3(c_in, c_out, kernel, ratio, squeeze, hard_swish, stride):
    hidden = make_divisible(c_in * ratio)
    act = nn.Hardswish if hard_swish else nn.ReLU
    squeezed = make_divisible(hidden // 4)
    se = [SqueezeExcitation(hidden, squeezed, nn.ReLU(), nn.Hardsigmoid())] if squeeze else []
    deep = conv_norm(hidden, hidden, kernel, stride, groups=hidden)
    if hidden == c_in:
        layers = [deep, act(), *se]
    else:
        layers = [conv_norm(c_in, hidden, 1, act=act()), deep, *se, act()]
    layers.append(conv_norm(hidden, c_out, 1))
    return Residual(nn.Sequential(*layers), stride == 1 and c_in == c_out)


def mbconv(c_in, c_out, ratio, stride, kernel):
    hidden = c_in * ratio
    padding = max(kernel - stride, 0)
    layers = [conv_norm(c_in, hidden, 1, act=nn.SiLU())] if hidden != c_in else []
    layers += [
        ConstantPad(padding // 2, padding - padding // 2),
        conv_norm(hidden, hidden, kernel, stride, 0, hidden, nn.SiLU()),
        SqueezeExcitation(hidden, max(1, c_in // 4), nn.SiLU(), nn.Sigmoid()),
        conv_norm(hidden, c_out, 1),
    ]
    return Residual(nn.Sequential(*layers), stride == 1 and c_in == c_out)


class Reader:
    """Builds the backbone row by row, keeping the channels so far."""

    def __init__(self, text: str):
        net = yaml.safe_load(text)
        self.channels = net.get("input_channel", 3)
        self.depth, self.width = net.get("depth_multiple", 1.0), net.get("width_multiple", 1.0)
        self.net = nn.Sequential(*[self.row(*row) for row in net["backbone"]])

    def row(self, repeat: int, module: str, args: list) -> nn.Module:
        repeat = max(round(repeat * self.depth), 1) if repeat > 1 else repeat
        return nn.Sequential(*getattr(self, module)(repeat, *args))

    def scaled(self, channels) -> int:
        return make_divisible(channels * self.width)

    def chain(self, repeat: int, out: int, make) -> list:
        """`repeat` blocks of `out` channels: `make(index, c_in)`."""
        blocks = []
        for index in range(repeat):
            blocks.append(make(index, self.channels))
            self.channels = out
        return blocks

    def last_strides(self, block, repeat, out, kernel, stride=1, *rest):
        def make(index, c_in):
            return block(c_in, out, kernel, stride if index == repeat - 1 else 1, *rest)

        return self.chain(repeat, out, make)

    def Conv(self, repeat, out, *rest):
        return self.last_strides(conv, repeat, self.scaled(out), *rest)

    def DWConv(self, repeat, out, *rest):
        return self.last_strides(depthwise, repeat, self.scaled(out), *rest)

    def ConvResidual(self, repeat, out, *rest):
        return self.last_strides(conv_residual, repeat, self.scaled(out), *rest)

    def FixedConv(self, repeat, out, *rest):
        return self.last_strides(conv, repeat, out, *rest)

    def Bottleneck(self, repeat, out, *rest):
        kept = self.chain(repeat - 1, self.channels, lambda _, c_in: bottleneck(c_in, c_in, *rest))
        out = self.scaled(out)
        return kept + self.chain(1, out, lambda _, c_in: bottleneck(c_in, out, *rest))

    def InvertedResidualv2(self, repeat, c, t, s):
        c = self.scaled(c)
        return self.chain(repeat, c, lambda i, c_in: inverted_v2(c_in, c, t, s if i == 0 else 1))

    def InvertedResidualv3(self, repeat, k, t, c, se, hs, s):
        c = self.scaled(c)
        return self.chain(repeat, c, lambda i, c_in: inverted_v3(c_in, c, k, t, se, hs, s if i == 0 else 1))

    def MBConv(self, repeat, t, c, s, k):
        c = self.scaled(c)
        return self.chain(repeat, c, lambda i, c_in: mbconv(c_in, c, t, s if i == 0 else 1, k))

    def MaxPool(self, repeat, *args):
        return [nn.MaxPool2d(*args) for _ in range(repeat)]

    def AvgPool(self, repeat, *args):
        return [nn.AvgPool2d(*args) for _ in range(repeat)]

    def GlobalAvgPool(self, repeat):
        return [nn.AdaptiveAvgPool2d(1)]

    def Flatten(self, repeat):
        return [nn.Flatten()]

    def Linear(self, repeat, out, act=None):
        return self.chain(repeat, out, lambda _, c_in: nn.Sequential(nn.Linear(c_in, out), activation(act)))


def text(keys: dict, rows: list[str]) -> str:
    keys = {"input_channel": 3, "depth_multiple": 1.0, "width_multiple": 1.0} | keys
    rows = rows if any("Linear" in row for row in rows) else rows + HEAD
    return "".join(f"{k}: {v}\n" for k, v in keys.items()) + "backbone:\n" + "".join(f"  - {row}\n" for row in rows)


def fill(net: nn.Module) -> list:
    """Gives the formula's values to the state dict and returns its names (ours) and shapes."""
    tensors = []
    for name, value in net.state_dict().items():
        kind = name.rsplit(".", 1)[-1]
        if kind != "num_batches_tracked":
            tensors.append([f"t{len(tensors)}.{kind}", list(value.shape)])
            value.copy_(torch.from_numpy(formula.tensor(*tensors[-1])))
    return tensors


@torch.no_grad()
def described(name: str) -> dict:
    source = text(*NETS[name])
    reader = Reader(source)
    net, channels = reader.net.eval(), yaml.safe_load(source)["input_channel"]
    tensors = fill(net)
    images = torch.from_numpy(formula.images(BATCH, channels, SIZE))
    single, double = net(images), net.double()(images.double())
    distance = float(((single - double).abs().max() / double.abs().max()))
    apart = float((double[0] - double[1]).abs().max() / double.abs().max())
    print(f"{name}: {networks.parameters(net):,} parameters, images {apart:.3g} apart, f32 {distance:.2g}")
    return {
        "name": name,
        "yaml": source,
        "input_channels": channels,
        "parameters": networks.parameters(net),
        "tensors": tensors,
        "logits": golden.single(double),
        "torch_f32_distance": float(f"{distance:.3g}"),
    }


def trunk_rows() -> list[dict]:
    """Nets whose trunk is torchvision's: parameters only."""
    rows = []
    for family, module, cut, channels, extra in [
        ("efficientnet_b0", "EfficientNetB0", "features.5.2", 112, ["[1, Conv, [480, 1, 1]]"]),
        ("efficientnet_b0", "EfficientNetB0", "features.4.2", 80, []),
        ("efficientnet_b0", "EfficientNetB0", "features.8", 1280, []),
        ("resnet18", "Resnet18", "layer2.1", 128, []),
        ("resnet18", "Resnet18", "layer4.1", 512, []),
    ]:
        trunk = networks.trunk(family, networks.build(family, 6))
        kept = networks.keep(trunk, cut.split(".")[0 if family == "resnet18" else 1 :])
        reader = Reader(text({"input_channel": channels}, extra))
        total = networks.parameters(kept) + networks.parameters(reader.net)
        source = text({}, [f"[1, {module}, [{channels}, True]]", *extra])
        rows.append({"yaml": source, "parameters": total})
        print(module, channels, f"{total:,}")
    return rows


if __name__ == "__main__":
    content = {"versions": golden.versions(), "classes": 6, "size": SIZE, "batch": BATCH}
    content |= {"nets": [described(name) for name in NETS], "pretrained_trunks": trunk_rows()}
    golden.write_json("yaml_modules.json", content)
