"""Training on a machine that takes its cores away for tenths of a second at a time: what a step would take if it didn't.

    python benchmarks/least.py --elimnet target/release/elimnet --rounds 10 > benchmarks/results/least.jsonl

No step of half a second is left in peace there, and medians of whole steps compare interruptions. Pieces of a step are left in peace: a step is taken as
the sum of its pieces' least times over all rounds. PyTorch's pieces are its operators (by its own profiler, each without those that it
calls), of five steps a round. Ours are coarser, which favours PyTorch: the forward and backward passes of whole blocks, medians of five steps, of
three processes a round; what is outside of blocks (optimizer, packing of filters) is taken as a whole step of one image of 64 pixels.
Pieces are matched by name and place, so that each step must have those of the first: anything else ends the run.
Tools take turns. PyTorch is channels-last under bf16 autocast, and keeps its memory from step to step, on large pages: without,
it asks the system for it in each step (`--as-it-is`).
"""

import argparse
import collections
import itertools
import json
import os
import subprocess
import sys

OURS = 3  # processes a round
STEPS = 5  # of PyTorch a round
KEPT = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=68719476736:glibc.malloc.arena_max=1:glibc.malloc.hugetlb=1"


def elimnet(arguments, options):
    command = [arguments.elimnet, "bench", arguments.network, "--train", "--precision", "bf16", "--format", "json"]
    command += ["--classes", "6", "--threads", str(arguments.threads), "--seconds", "0.5", *options]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def elimnet_steps(arguments):
    return [elimnet_process(arguments) for _ in range(OURS)]


def elimnet_process(arguments):
    blocks = elimnet(arguments, ["--batch-size", str(arguments.batch_size), "--profile"])["blocks"]
    pieces = [(f"{block['block']}, {way}", block[f"{way}_ms"]) for block in blocks for way in ["forward", "backward"]]
    rest = elimnet(arguments, ["--batch-size", "1", "--image-size", "64"])["median_ms"]
    return [*pieces, ("a step of one image of 64 pixels", rest)]


def torch_steps(arguments):
    command = [sys.executable, __file__, "--network", arguments.network, "--batch-size", str(arguments.batch_size)]
    command += ["--threads", str(arguments.threads), "--torch-steps", str(STEPS)]
    environment = os.environ if arguments.as_it_is else os.environ | {"GLIBC_TUNABLES": KEPT}
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return json.loads(output.splitlines()[-1])


def torch_process(arguments):
    """The operators of each of some steps, by their places and names, and their milliseconds."""
    import torch
    import torchvision

    torch.set_num_threads(arguments.threads)
    net = torchvision.models.get_model(arguments.network, weights=None, num_classes=6).train().to(memory_format=torch.channels_last)
    images = torch.randn(arguments.batch_size, 3, 224, 224).to(memory_format=torch.channels_last)
    labels = torch.arange(arguments.batch_size) % 6
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6, momentum=0.9)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()

    step(), step()
    steps = []
    for _ in range(arguments.torch_steps):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            step()
        steps.append([(f"{place} {event.name}", event.self_cpu_time_total / 1e3) for place, event in enumerate(profile.events())])
    return steps


def take_least(least, steps, tool):
    for step in steps:
        names = [name for name, _ in step]
        if least and names != list(least):
            differing = [pair for pair in itertools.zip_longest(least, names) if pair[0] != pair[1]]
            sys.exit(f"error: steps of {tool} differ in {len(differing)} pieces, first {differing[0]}: their least times don't add up to a step's")
        for name, milliseconds in step:
            least[name] = min(milliseconds, least.get(name, float("inf")))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elimnet", default="target/release/elimnet")
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--as-it-is", action="store_true", help="PyTorch's memory as the system gives it")
    parser.add_argument("--torch-steps", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.torch_steps:
        return print(json.dumps(torch_process(arguments)))
    tools = {"elimnet": elimnet_steps, "torch": torch_steps}
    least = {tool: {} for tool in tools}
    for turn in range(arguments.rounds):
        for tool, steps in tools.items():
            take_least(least[tool], steps(arguments), tool)
        sums = {tool: sum(pieces.values()) for tool, pieces in least.items()}
        print(turn + 1, {tool: round(value, 1) for tool, value in sums.items()}, f"{sums['torch'] / sums['elimnet']:.2f}", file=sys.stderr)
    for tool, pieces in least.items():
        kinds = collections.Counter()
        for piece, milliseconds in pieces.items():
            kinds[piece.split(" ")[1] if tool == "torch" else piece] += milliseconds
        record = {"network": arguments.network, "batch_size": arguments.batch_size, "tool": tool, "rounds": arguments.rounds}
        record |= {"as_it_is": arguments.as_it_is, "pieces": len(pieces), "least_ms": round(sum(pieces.values()), 1)}
        print(json.dumps(record | {"by_kind_ms": {kind: round(value, 2) for kind, value in kinds.most_common(20)}}))


if __name__ == "__main__":
    main()
