"""What does a scan cost? Its one pass with features after every block, against a plain forward pass over the same images.

    python benchmarks/scan_cost.py TRASHNET WEIGHTS_FOLDER --elimnet target/release/elimnet > benchmarks/results/scan_cost.jsonl

Both read, resize and run the training and validation images in batches of 32, nothing cached; in turns. One JSON line a backbone
on stdout; a table on stderr.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

SPLITS = ["train", "val"]
BACKBONES = {"resnet18": "layer4.1", "efficientnet_b0": "features.8", "mobilenet_v3_large": "features.16"}  # and the last block


def run(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return json.loads(done.stdout)


def plain_seconds(arguments, model, folder):
    """Seconds of decoding and inference over all images of the scan."""
    seconds = 0
    for split in SPLITS:
        command = [arguments.elimnet, "inference", "--model-dir", model, "--img-root", arguments.data / split]
        command += ["--output", folder / "predictions.csv", "--batch-size", "32", "--format", "json"]
        seconds += run(command, folder)["timing"]["total_seconds"]
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("weights", type=pathlib.Path)
    parser.add_argument("--elimnet", type=pathlib.Path, default="target/release/elimnet")
    parser.add_argument("--backbones", nargs="+", choices=BACKBONES, default=list(BACKBONES))
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    for name in ["data", "weights", "elimnet"]:
        setattr(arguments, name, getattr(arguments, name).resolve())
    print("| backbone | plain pass, s | scan's pass, s | ratio | probes, s | whole scan, s |", file=sys.stderr)
    print("|---|---|---|---|---|---|", file=sys.stderr)
    for backbone in arguments.backbones:
        weights = arguments.weights / f"{backbone}-tiny-imagenet.pth"
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            size = ["--image-size", str(arguments.image_size)]
            train = [arguments.elimnet, "train", "--model", backbone, "--data", arguments.data, "--weights", weights]
            train += ["--epochs", "1", "--freeze-until", BACKBONES[backbone], "--format", "json", *size]
            run(train, folder)
            model = folder / "exp" / "latest" / "best.safetensors"
            scan = [arguments.elimnet, "scan", arguments.data, "--backbone", backbone, "--weights", weights]
            scan += ["--no-cache", "--format", "json", *size]
            plain, scans = [], []
            for _ in range(arguments.rounds):
                plain.append(plain_seconds(arguments, model, folder))
                scans.append(run(scan, folder))
        row = {"backbone": backbone, "image_size": arguments.image_size, "images": scans[0]["images"], "plain": plain}
        row |= {key: [scan[f"{key}seconds"] for scan in scans] for key in ["forward_", "probe_", ""]}
        row["seconds"] = row.pop("")
        print(json.dumps(row), flush=True)
        median = {key: statistics.median(row[key]) for key in ["plain", "forward_", "probe_", "seconds"]}
        cells = [backbone, f"{median['plain']:.1f}", f"{median['forward_']:.1f}"]
        cells += [f"{median['forward_'] / median['plain']:.2f}", f"{median['probe_']:.1f}", f"{median['seconds']:.1f}"]
        print("| " + " | ".join(cells) + " |", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
