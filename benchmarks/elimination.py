"""Does the scan find the cut that full fine-tunes would have found, and how much sooner?

    python benchmarks/elimination.py --trashnet DIR --fashion DIR --weights DIR > benchmarks/results/elimination.jsonl
    python benchmarks/elimination.py --table benchmarks/results/elimination.jsonl

For each data set, backbone and seed: one scan with anchors predicts every cut; every stage cut (the last block of each number
of channels) is fine-tuned in full, from the head that is its probe (`elimnet eliminate --cuts CUT --anchors 0`: a scan, which counts for
the first cut alone, and a training); under three budgets of parameters `elimnet eliminate` is run too. One JSON line a measurement; a
line that is in --done already is not measured again. The table has, over the stage cuts, Kendall's tau of
predicted and fine-tuned macro-F1, the regret of the cut that the prediction takes and of the deepest one that fits, and the time of
`eliminate` against fine-tuning every stage cut.

WEIGHTS holds NAME-tiny-imagenet.pth for each backbone. Fashion-MNIST is cut to its first images (its order is a shuffle already).
"""

import argparse
import gzip
import itertools
import json
import os
import pathlib
import statistics
import struct
import subprocess
import sys
import tempfile
import time

BACKBONES = ["resnet18", "efficientnet_b0", "mobilenet_v3_large"]
BUDGETS = [0.35, 0.6, 0.85]  # shares of the stage cuts, in the order of their parameters, that fit


def subset(source, target, counts):
    """Writes the first images of IDX files as a data set of its own."""
    target.mkdir(parents=True)
    for name, count in counts.items():
        for kind, header in [("images-idx3", 16), ("labels-idx1", 8)]:
            raw = gzip.decompress((source / f"{name}-{kind}-ubyte.gz").read_bytes())
            size = 28 * 28 if kind == "images-idx3" else 1
            content = raw[:4] + struct.pack(">I", count) + raw[8:header] + raw[header : header + count * size]
            (target / f"{name}-{kind}-ubyte").write_bytes(content)
    return target


def elimnet(arguments, command, *rest):
    line = [arguments.elimnet, command, *map(str, rest), "--threads", str(arguments.threads)]
    began = time.monotonic()
    done = subprocess.run(line, capture_output=True, text=True, env=os.environ | {"ELIMNET_CACHE": arguments.cache})
    if done.returncode != 0:
        sys.exit(f"{' '.join(line)}\n{done.stderr}")
    return done.stdout, time.monotonic() - began


def stage_cuts(cuts):
    """The last of each run of cuts of as many channels."""
    stages = itertools.groupby(cuts, key=lambda cut: cut["out_channels"])
    return [list(members)[-1] for _, members in stages]


def common(arguments, data, backbone, size, seed):
    weights = pathlib.Path(arguments.weights) / f"{backbone}-tiny-imagenet.pth"
    return [data, "--backbone", backbone, "--weights", weights, "--image-size", size, "--seed", seed, "--batch-size", arguments.batch_size, "--learning-rate", arguments.learning_rate]


def measure_scan(arguments, data, backbone, size, seed, folder):
    options = ["--anchors", arguments.anchors, "--anchor-epochs", arguments.anchor_epochs, "--no-cache", "--format", "json", "--output", folder]
    printed, seconds = elimnet(arguments, "scan", *common(arguments, data, backbone, size, seed), *options)
    return {"wall_seconds": seconds, "scan": json.loads(printed)}


def measure_train(arguments, data, backbone, size, seed, cut, folder):
    options = ["--cuts", cut, "--anchors", 0, "--no-proof", "--epochs", arguments.epochs, "--format", "json", "--output", folder]
    printed, seconds = elimnet(arguments, "eliminate", *common(arguments, data, backbone, size, seed), *options)
    winner = json.loads(printed)["winner"]
    return {"wall_seconds": seconds, "parameters": winner["parameters"], "macro_f1": winner["macro_f1"]}


def measure_eliminate(arguments, data, backbone, size, seed, budget, folder):
    options = ["--anchors", arguments.anchors, "--anchor-epochs", arguments.anchor_epochs, "--epochs", arguments.epochs, "--max-params", budget]
    options += ["--no-proof", "--no-cache", "--format", "json", "--output", folder]
    printed, seconds = elimnet(arguments, "eliminate", *common(arguments, data, backbone, size, seed), *options)
    return {"wall_seconds": seconds, "elimination": json.loads(printed)}


def budgets(stages):
    parameters = sorted(cut["parameters"] for cut in stages)
    return sorted({parameters[min(int(share * len(parameters)), len(parameters) - 1)] for share in BUDGETS})


def run(arguments):
    done = {}
    if arguments.done and pathlib.Path(arguments.done).exists():
        done = {tuple(line["key"]): line for line in map(json.loads, open(arguments.done))}

    def once(key, measure, *rest):
        if key not in done:
            with tempfile.TemporaryDirectory() as folder:
                done[key] = {"key": list(key), "settings": settings, **measure(arguments, *rest, folder)}
        print(json.dumps(done[key]), flush=True)
        return done[key]

    settings = {name: getattr(arguments, name) for name in ["epochs", "batch_size", "learning_rate", "anchors", "anchor_epochs", "threads"]}
    with tempfile.TemporaryDirectory() as scratch:
        arguments.cache, data = f"{scratch}/cache", {}
        if arguments.trashnet:
            data["trashnet"] = (arguments.trashnet, arguments.trashnet_size)
        if arguments.fashion:
            counts = {"train": arguments.fashion_images, "t10k": arguments.fashion_images // 4}
            folder = subset(pathlib.Path(arguments.fashion), pathlib.Path(scratch) / "fashion-mnist", counts)
            data["fashion-mnist"] = (folder, arguments.fashion_size)
        for seed, (name, (folder, size)), backbone in itertools.product(arguments.seeds, data.items(), arguments.backbones):
            place, key = (folder, backbone, size, seed), (name, backbone, size, seed)
            cuts = once((*key, "scan"), measure_scan, *place)["scan"]["cuts"]
            stages = stage_cuts(cuts)
            for cut in stages:
                once((*key, "train", cut["name"]), measure_train, *place, cut["name"])
            for budget in [] if arguments.no_eliminate else budgets(stages):
                once((*key, "eliminate", budget), measure_eliminate, *place, budget)
    return list(done.values())


def kendall(pairs):
    """Kendall's tau-b."""
    agree = ties = both = 0
    for (a, b), (c, d) in itertools.combinations(pairs, 2):
        sign = (a > c) - (a < c), (b > d) - (b < d)
        agree += sign[0] * sign[1]
        ties += sign[0] != 0
        both += sign[1] != 0
    return agree / (ties * both) ** 0.5 if ties and both else float("nan")


def expected(cut):
    return (cut["predicted_macro_f1"] or cut["probe"] | {"value": cut["probe"]["macro_f1"]})["value"]


def evaluate(lines, key):
    """What one scan, its full fine-tunes and its eliminations come to."""
    own = {tuple(line["key"][len(key) :]): line for line in lines if tuple(line["key"][: len(key)]) == key}
    stages = stage_cuts(own["scan",]["scan"]["cuts"])
    tuned = {cut["name"]: own["train", cut["name"]] for cut in stages if ("train", cut["name"]) in own}
    stages = [cut for cut in stages if cut["name"] in tuned]
    score = {name: line["macro_f1"] for name, line in tuned.items()}
    every = sum(line["wall_seconds"] for line in tuned.values())
    regrets, static, gains, found = [], [], [], []
    for budget in budgets(stages):
        fits = [cut for cut in stages if cut["parameters"] <= budget]
        best = max(score[cut["name"]] for cut in fits)
        regrets.append(best - score[max(fits, key=expected)["name"]])
        static.append(best - score[fits[-1]["name"]])
        if line := own.get(("eliminate", budget)):
            gains.append(every / line["wall_seconds"])
            found.append(best - line["elimination"]["winner"]["macro_f1"])
    return {
        "rows": [(cut, score[cut["name"]]) for cut in stages],
        "tau": kendall([(expected(cut), score[cut["name"]]) for cut in stages]),
        "tau_probe": kendall([(cut["probe"]["macro_f1"], score[cut["name"]]) for cut in stages]),
        "regret": statistics.mean(regrets),
        "static": statistics.mean(static),
        "eliminate": statistics.mean(found) if found else float("nan"),
        "speed": statistics.mean(gains) if gains else float("nan"),
    }


def shown(value, form):
    return format(value, form) if value == value else "-"


def table(lines):
    keys = sorted({tuple(line["key"][:4]) for line in lines})
    results = {key: evaluate(lines, key) for key in keys if any(tuple(line["key"]) == (*key, "scan") for line in lines)}
    print("| data | backbone | seed | tau (probe alone) | regret: prediction | static baseline | eliminate | every stage cut / eliminate |")
    print("|---|---|---|---|---|---|---|---|")
    for (data, backbone, size, seed), found in results.items():
        print(
            f"| {data} {size} | {backbone} | {seed} | {found['tau']:.2f} ({found['tau_probe']:.2f}) | {found['regret']:.3f} | {found['static']:.3f} "
            f"| {shown(found['eliminate'], '.3f')} | {shown(found['speed'], '.1f')} |"
        )
    for name in ["regret", "static", "eliminate"]:
        values = [found[name] for found in results.values() if found[name] == found[name]]
        print(f"mean {name}: {statistics.mean(values):.4f}" if values else f"no {name}")
    print("\n| data | backbone | seed | cut | parameters | probe | predicted | fine-tuned macro-F1 |\n|---|---|---|---|---|---|---|---|")
    for (data, backbone, size, seed), found in results.items():
        for cut, score in found["rows"]:
            guess = cut["predicted_macro_f1"]
            guess = f"{guess['value']:.3f} [{guess['low']:.3f}, {guess['high']:.3f}]" if guess else "-"
            print(f"| {data} {size} | {backbone} | {seed} | {cut['name']} | {cut['parameters']:,} | {cut['probe']['macro_f1']:.3f} | {guess} | {score:.3f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", metavar="JSONL", help="print the tables of earlier measurements and measure nothing")
    parser.add_argument("--trashnet", help="folder of TrashNet")
    parser.add_argument("--fashion", help="folder of Fashion-MNIST's IDX files")
    parser.add_argument("--weights", help="folder of the backbones' weights")
    parser.add_argument("--backbones", nargs="+", default=BACKBONES)
    parser.add_argument("--done", metavar="JSONL", help="earlier measurements, which are not made again")
    parser.add_argument("--elimnet", default="target/release/elimnet")
    parser.add_argument("--trashnet-size", type=int, default=96)
    parser.add_argument("--fashion-size", type=int, default=64)
    parser.add_argument("--fashion-images", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--anchors", type=int, default=3)
    parser.add_argument("--anchor-epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--no-eliminate", action="store_true", help="leave out the runs of eliminate: no times, tau and regrets all the same")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    if arguments.table:
        table([json.loads(line) for line in open(arguments.table)])
    else:
        run(arguments)


if __name__ == "__main__":
    main()
