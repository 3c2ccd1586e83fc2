"""Does bf16 change answers? Share of test images whose class is another one in bf16 than in f32, for fine-tuned networks.

    python benchmarks/agreement.py DATA WEIGHTS --elimnet target/release/elimnet > benchmarks/results/agreement.jsonl

DATA is an image folder (train/, val/, test/); WEIGHTS holds NAME-tiny-imagenet.pth for each backbone. Each network is fine-tuned
once with the processor's own precision, then predicts the test images in both. One JSON line a network.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

NETWORKS = ["resnet18", "resnet18@128", "efficientnet_b0", "efficientnet_b0@80", "mobilenet_v3_large"]


def predictions(arguments, run, precision):
    command = [arguments.elimnet, "predict", run, str(pathlib.Path(arguments.data) / "test"), "--format", "json", "--precision", precision]
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
    arguments = parser.parse_args()
    for name in arguments.networks:
        with tempfile.TemporaryDirectory() as folder:
            weights = pathlib.Path(arguments.weights) / f"{name.partition('@')[0]}-tiny-imagenet.pth"
            command = [arguments.elimnet, "train", "--model", name, "--data", arguments.data, "--weights", weights, "--output", folder]
            command += ["--image-size", str(arguments.image_size), "--epochs", str(arguments.epochs), "--learning-rate", "0.02"]
            subprocess.run(command, check=True, capture_output=True)
            f32, bf16 = (predictions(arguments, f"{folder}/latest", precision) for precision in ["f32", "bf16"])
            changed = [file for file in f32 if f32[file][0] != bf16[file][0]]
            sure = max((f32[file][1] for file in changed), default=0.0)
            record = {"network": name, "image_size": arguments.image_size, "images": len(f32), "changed": len(changed)}
            print(json.dumps(record | {"share": len(changed) / len(f32), "surest_changed": sure}), flush=True)


if __name__ == "__main__":
    main()
