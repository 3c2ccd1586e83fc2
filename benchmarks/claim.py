"""The seed's claim: is a cut pretrained network as good as the uncut one, and better than one of its size from scratch?

    python benchmarks/claim.py DATA WEIGHTS --elimnet target/release/elimnet > benchmarks/results/claim.jsonl

`elimnet eliminate` finds a cut under a budget and fine-tunes it, the uncut network and the deepest cut that fits, each with every
seed; then the winner's network is trained from random weights with as many epochs, and with four times as many. One JSON line a
result; a table on stderr. Intervals are 95 % bootstrap intervals over test images and seeds.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile


def elimnet(arguments, command, *rest):
    line = [arguments.elimnet, command, *map(str, rest), "--image-size", str(arguments.image_size), "--format", "json"]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(line)}\n{done.stderr}")
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("weights", help="state dict of the backbone")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--max-params", default="700k")
    parser.add_argument("--elimnet", default="target/release/elimnet")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    print("| network | parameters | test macro-F1 [95 %] | each seed | ms, one image |\n|---|---|---|---|---|", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        options = ["--backbone", arguments.backbone, "--weights", arguments.weights, "--max-params", arguments.max_params]
        options += ["--epochs", arguments.epochs, "--seeds", arguments.seeds, "--output", folder]
        found = elimnet(arguments, "eliminate", arguments.data, *options)
        print(json.dumps(found), flush=True)
        for role in ["winner", "uncut", "baseline"]:
            network = found[role]
            name = f"{network['backbone']}{'@' + network['cut'] if network['cut'] else ''}, {role}"
            each = ", ".join(f"{seed['macro_f1']:.3f}" for seed in network["seeds"])
            interval = f"{network['macro_f1']:.3f} [{network['low']:.3f}, {network['high']:.3f}]"
            print(f"| {name} | {network['parameters']:,} | {interval} | {each} | {network['latency_ms']['1']:.2f} |", file=sys.stderr)
        model = f"{arguments.backbone}@{found['winner']['cut']}"
        for epochs in [arguments.epochs, 4 * arguments.epochs]:
            scores = []
            for seed in range(arguments.seeds):
                options = ["--model", model, "--data", arguments.data, "--weights", "none", "--epochs", epochs, "--seed", seed, "--output", folder]
                summary = elimnet(arguments, "train", *options)
                scores.append(summary["test"]["macro_f1"])
                print(json.dumps({"scratch": model, "epochs": epochs, "seed": seed, "test": summary["test"]}), flush=True)
            each = ", ".join(f"{score:.3f}" for score in scores)
            print(f"| {model}, from scratch, {epochs} epochs | {found['winner']['parameters']:,} | {statistics.mean(scores):.3f} | {each} | |", file=sys.stderr)


if __name__ == "__main__":
    main()
