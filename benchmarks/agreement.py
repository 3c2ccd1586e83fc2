"""Does bf16 change answers? Share of test images whose class is another one in bf16 than in f32, for fine-tuned networks.

    python benchmarks/agreement.py DATA WEIGHTS --elimnet target/release/elimnet > benchmarks/results/agreement.jsonl

DATA is an image folder (train/, val/, test/); WEIGHTS holds NAME-tiny-imagenet.pth for each backbone. Each network is fine-tuned
with the processor's own precision, for each seed, then predicts the test images in both. One JSON line a network and seed.
`--against` has another build predict in bf16 too, with the same weights.
"""

import argparse
import itertools
import json
import pathlib
import subprocess
import tempfile

NETWORKS = ["resnet18", "resnet18@128", "efficientnet_b0", "efficientnet_b0@80", "mobilenet_v3_large"]


def predictions(arguments, elimnet, run, precision):
    command = [elimnet, "predict", run, str(pathlib.Path(arguments.data) / "test"), "--format", "json", "--precision", precision]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = [json.loads(line) for line in printed.splitlines()]
    return {line["file"]: (line["class"], line["probability"]) for line in lines}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("weights")
    parser.add_argument("--elimnet", default="target/release/elimnet")
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--against")
    arguments = parser.parse_args()
    for name, seed in itertools.product(arguments.networks, range(arguments.seeds)):
        with tempfile.TemporaryDirectory() as folder:
            weights = pathlib.Path(arguments.weights) / f"{name.partition('@')[0]}-tiny-imagenet.pth"
            command = [arguments.elimnet, "train", "--model", name, "--data", arguments.data, "--weights", weights, "--output", folder]
            command += ["--image-size", str(arguments.image_size), "--epochs", str(arguments.epochs), "--learning-rate", "0.02", "--seed", str(seed)]
            subprocess.run(command, check=True, capture_output=True)
            run = f"{folder}/latest"
            f32, bf16 = (predictions(arguments, arguments.elimnet, run, precision) for precision in ["f32", "bf16"])
            record = {"network": name, "seed": seed, "image_size": arguments.image_size, "images": len(f32)} | changes(f32, bf16)
            if arguments.against:
                against = changes(f32, predictions(arguments, arguments.against, run, "bf16"))
                record |= {f"against_{key}": value for key, value in against.items()}
            print(json.dumps(record), flush=True)


def changes(f32, bf16):
    changed = [file for file in f32 if f32[file][0] != bf16[file][0]]
    squares = [(f32[file][1] - bf16[file][1]) ** 2 for file in f32]
    sure = max((f32[file][1] for file in changed), default=0.0)
    rms = (sum(squares) / len(squares)) ** 0.5
    return {"changed": len(changed), "share": len(changed) / len(f32), "surest_changed": sure, "rms_of_probability": rms}


if __name__ == "__main__":
    main()
