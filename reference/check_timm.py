"""Checks that timm weights which we translated give timm's logits in torchvision's networks.

Usage: python reference/check_timm.py PATH_OF_convert_weights
(cargo build -p elimnet --example convert_weights; it is in target/debug/examples)
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import timm
import torch
import torchvision
from safetensors.torch import load_file
from write_names import TIMM_NAMES, randomize


def main(convert):
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "timm.pth", Path(folder) / "translated.safetensors"
        for network, timm_name in TIMM_NAMES.items():
            theirs = timm.create_model(timm_name).eval()
            randomize(theirs)
            torch.save(theirs.state_dict(), source)
            subprocess.run([convert, source, target], check=True)
            ours = torchvision.models.get_model(network).eval()
            state, found = ours.state_dict(), load_file(target)
            assert found.keys() == state.keys(), found.keys() ^ state.keys()
            state.update(found)
            ours.load_state_dict(state)
            images = torch.randn(2, 3, 224, 224)
            with torch.no_grad():
                found, expected = ours(images), theirs(images)
            difference = ((found - expected).abs().max() / expected.abs().max()).item()
            print(f"{network}: largest difference {difference:.1e} of the largest logit")
            assert difference < 1e-5, network


if __name__ == "__main__":
    main(sys.argv[1])
