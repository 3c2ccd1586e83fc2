"""Checks that torchvision takes a file that elimnet saved, and prints its logits.

    python verify_safetensors.py FILE --model resnet18 --classes 6 [--size 64] [--batch 2] [--image IMAGE.npy]

Prints one JSON object: {"ok": true, "model", "classes", "logits": [[...]]}. Exit status 1 and {"ok": false, "error"}
where the names or shapes do not match. `--image` is an f32 array [n, 3, h, w], already preprocessed; without it the
images are the formula's.
"""

import argparse
import json
import sys

import formula
import networks
import numpy as np
import torch
from safetensors.torch import load_file


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--model", required=True, choices=networks.FAMILIES)
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--cut", help="the torchvision module after which the network was cut")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--image", help="an .npy file")
    return parser.parse_args()


def load(args: argparse.Namespace) -> torch.nn.Module:
    if args.cut:
        net = networks.CutNet(args.model, args.cut, args.classes)
    else:
        net = networks.build(args.model, args.classes)
    net.load_state_dict(load_file(args.file))
    return net.eval()


@torch.no_grad()
def main() -> int:
    args = arguments()
    images = np.load(args.image) if args.image else formula.images(args.batch, 3, args.size)
    try:
        net = load(args)
    except RuntimeError as error:
        print(json.dumps({"ok": False, "error": str(error)}))
        return 1
    logits = net(torch.from_numpy(images)).tolist()
    print(json.dumps({"ok": True, "model": args.model, "classes": args.classes, "logits": logits}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
