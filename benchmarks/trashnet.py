"""Is the number true? The same recipe, networks, weights, seeds and image size here, in f32 and bf16, and in PyTorch, in turns.

    python benchmarks/trashnet.py DATA WEIGHTS --elimnet target/release/elimnet --seeds 0 1 2 > benchmarks/results/trashnet.jsonl

DATA is an image folder (train/, val/, test/), WEIGHTS a torchvision state dict of the networks: without `--networks`, resnet18's. One JSON line a run; a table of
test macro-F1 (mean and spread over the seeds) and training speed on stderr.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
CONFIGS = HERE.parent / "configs" / "model"
NETWORKS = [  # title, model file or network of the zoo, torchvision's last kept stage (of resnet18 alone), pretrained
    ("resnet18, pretrained", "resnet18.yaml", "layer4", True),
    ("resnet18 elim 2, pretrained", "resnet18_elim_2.yaml", "layer2", True),
    ("resnet18 elim 2, from scratch", "resnet18_elim_2.yaml", "layer2", False),
    ("efficientnet_b0, pretrained", "efficientnet_b0", None, True),
    ("mobilenet_v3_large, pretrained", "mobilenet_v3_large", None, True),
]


def elimnet(arguments, model, weights, seed, precision):
    with tempfile.TemporaryDirectory() as folder:
        model = str(CONFIGS / model) if model.endswith(".yaml") else model
        command = [arguments.elimnet, "train", "--model", model, "--data", arguments.data]
        command += ["--weights", weights or "none", "--image-size", str(arguments.image_size), "--output", folder]
        command += ["--epochs", str(arguments.epochs), "--batch-size", str(arguments.batch_size), "--seed", str(seed)]
        command += ["--learning-rate", str(arguments.learning_rate), "--threads", str(arguments.threads), "--precision", precision]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        summary = json.loads((pathlib.Path(folder) / "latest" / "summary.json").read_text())
    kept = ["parameters", "validation", "test", "data_wait_share"]
    record = {name: summary[name] for name in kept}
    for split in ["validation", "test"]:
        record[split] = {name: summary[split][name] for name in ["loss", "accuracy", "macro_f1"]}
    return record | {"train_images_per_second": summary["images_per_second"]}


def torch(arguments, cut, weights, seed):
    command = [sys.executable, str(HERE / "trashnet_torch.py"), arguments.data, "--cut", cut, "--seed", str(seed)]
    command += ["--image-size", str(arguments.image_size), "--epochs", str(arguments.epochs)]
    command += ["--batch-size", str(arguments.batch_size), "--threads", str(arguments.threads)]
    command += ["--learning-rate", str(arguments.learning_rate)]
    command += ["--weights", weights] if weights else []
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def table(records):
    rows = {}
    for record in records:
        rows.setdefault((record["network"], record["tool"]), []).append(record)
    print("| network | tool | test macro-F1, mean (each seed) | training images/s, median |\n|---|---|---|---|", file=sys.stderr)
    for (network, tool), found in rows.items():
        scores = [record["test"]["macro_f1"] for record in found]
        each = ", ".join(f"{score:.3f}" for score in scores)
        speed = statistics.median(record["train_images_per_second"] for record in found)
        print(f"| {network} | {tool} | {statistics.mean(scores):.3f} ({each}) | {speed:.0f} |", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("weights")
    parser.add_argument("--elimnet", default="target/release/elimnet")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=0.05)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--networks", nargs="+", default=[title for title, *_ in NETWORKS[:3]])
    parser.add_argument("--tools", nargs="+", default=["elimnet-f32", "elimnet-bf16", "torch-f32"])
    arguments = parser.parse_args()
    records = []
    for seed in arguments.seeds:
        for title, model, cut, pretrained in NETWORKS:
            if title not in arguments.networks:
                continue
            weights = arguments.weights if pretrained else None
            settings = {"network": title, "seed": seed, "image_size": arguments.image_size, "epochs": arguments.epochs}
            settings |= {"batch_size": arguments.batch_size, "learning_rate": arguments.learning_rate}
            for tool in arguments.tools:
                name, _, precision = tool.partition("-")
                run = torch(arguments, cut, weights, seed) if name == "torch" else elimnet(arguments, model, weights, seed, precision)
                records.append({"tool": tool, **settings, **run})
                print(json.dumps(records[-1]), flush=True)
    table(records)


if __name__ == "__main__":
    main()
