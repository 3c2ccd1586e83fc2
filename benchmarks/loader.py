"""Does the loader keep up? Training batches of 224 px from photos on disk, here and from torchvision's DataLoader, in turns.

    python benchmarks/loader.py DATA --loader target/release/examples/loader_throughput > benchmarks/results/loader.jsonl

DATA is an image folder with train/ and val/; its photos (every other one, or as `--every` says) are first resized to 512x384
(`--photo-size`) and saved as JPEG (quality 90) in a temporary folder. Each tool makes the seed's training batches (pad,
resize to 1.2 S, random resized crop, flip, normalise) of 32 images with two workers, and nobody uses them. elimnet decodes
every file each epoch ("nothing kept"), or finds the padded and resized images in memory from its second epoch on ("kept", the
default where they fit); torchvision keeps nothing. One JSON line a run, a table on stderr.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy
import torch
from PIL import Image
from trashnet_torch import dataset


def photos(source, target, size=(512, 384), every=2):
    """Copies of the photos of `source`, enlarged, with the noise of a camera's sensor in those of more than a megapixel."""
    noise = numpy.random.default_rng(0)
    for split in ["train", "val"]:
        for path in sorted((pathlib.Path(source) / split).glob("*/*.jpg"))[::every]:
            copy = pathlib.Path(target) / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            photo = Image.open(path).convert("RGB").resize(size, Image.Resampling.BICUBIC)
            if size[0] * size[1] > 1_000_000:
                pixels = numpy.asarray(photo) + noise.normal(0, 6, (size[1], size[0], 1))
                photo = Image.fromarray(pixels.clip(0, 255).astype(numpy.uint8))
            photo.save(copy, quality=90)


def torchvision_epoch(arguments):
    torch.set_num_threads(1)
    images = dataset(arguments.data, "train", arguments.image_size)
    loader = torch.utils.data.DataLoader(images, 32, shuffle=True, num_workers=arguments.workers)
    started = time.perf_counter()
    count = sum(len(labels) for _, labels in loader)
    return {"torchvision": count / (time.perf_counter() - started)}


def elimnet_epochs(arguments):
    command = [arguments.loader, arguments.data, str(arguments.workers), str(arguments.image_size)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = [line.split(": ") for line in done.stdout.splitlines()]
    speeds = {title: float(speed.split()[0]) for title, speed in lines}
    policy = "simple_augment_train"
    return {
        "elimnet, nothing kept": speeds[f"{policy}, nothing kept, epoch 1"],
        "elimnet, kept": speeds[f"{policy}, kept, epoch 1"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--loader", default="target/release/examples/loader_throughput")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--photo-size", type=int, nargs=2, default=(512, 384), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--every", type=int, default=2)
    arguments = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        photos(arguments.data, folder, arguments.photo_size, arguments.every)
        arguments.data = folder
        for turn in range(arguments.rounds):
            for run in [elimnet_epochs, torchvision_epoch]:
                for tool, speed in run(arguments).items():
                    found.setdefault(tool, []).append(speed)
                    record = {"tool": tool, "photo_size": arguments.photo_size, "round": turn, "images_per_second": speed}
                    print(json.dumps(record), flush=True)
    theirs = statistics.median(found["torchvision"])
    print("| loader | images/s, median | over torchvision |\n|---|---|---|", file=sys.stderr)
    for tool, speeds in found.items():
        speed = statistics.median(speeds)
        print(f"| {tool} | {speed:.0f} | {speed / theirs:.2f} |", file=sys.stderr)


if __name__ == "__main__":
    main()
