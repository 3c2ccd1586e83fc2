"""Is it faster than what there is? Training and inference here, in PyTorch, ONNX Runtime and OpenVINO, in turns.

    python benchmarks/peers.py --elimnet target/release/elimnet > benchmarks/results/peers.jsonl

Every measurement is a process of its own; a round runs all tools on one piece of work before the next round begins, so
that what else the machine does falls on all of them. A peer's modes that were more than a third slower than its best in the
first round sit out the others. One JSON line a measurement on stdout; a table of medians and ratios on stderr, in brackets the
ratio of the least times. Memory is the most that a process of elimnet had, and of a peer the same less what it had once its
libraries were imported. `--raw FILE...` makes the tables of earlier runs' lines and measures nothing.

`--isa avx2|avx512` limits every tool to that instruction set (elimnet and PyTorch in f32).
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
NETWORKS = ["efficientnet_b0", "efficientnet_b0@80", "resnet18", "resnet18@128", "mobilenet_v3_large"]
OURS = ["elimnet-f32", "elimnet-bf16"]
PEERS = {
    "train": ["torch-f32", "torch-f32-nhwc", "torch-bf16", "torch-bf16-nhwc"],
    "infer": ["torch-bf16-nhwc", "onnxruntime-f32", "openvino-f32", "openvino-bf16"],
}
LIMITS = {
    "avx2": {"ELIMNET_ISA": "avx2", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "avx512": {"ELIMNET_ISA": "avx512", "ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
}
SLOWER = 4 / 3  # than the best mode of the same tool: sits out after the first round


def measurement(arguments, tool, work):
    if tool.startswith("elimnet"):
        command = [arguments.elimnet, "bench", work["network"], "--format", "json"]
        command += ["--precision", tool.removeprefix("elimnet-")]
        command += ["--train"] if work["mode"] == "train" else []
    else:
        command = [sys.executable, str(HERE / "peer.py"), tool, "--mode", work["mode"], "--network", work["network"]]
    command += ["--batch-size", str(work["batch_size"]), "--image-size", str(arguments.image_size), "--classes", "6"]
    command += ["--threads", str(arguments.threads), "--seconds", str(arguments.seconds)]
    environment = os.environ | LIMITS.get(arguments.isa, {})
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors, text=True, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0), errors.seek(0)
        if process.returncode != 0:
            sys.exit(f"{' '.join(command)}\n{errors.read()}")
        measured = json.loads(output.read().splitlines()[-1])
    return measured["median_ms"], measured.get("memory_mib", usage.ru_maxrss / 1024)


def rounds(arguments, work, tools):
    """Median times in milliseconds, a list for each tool, and the memory of each in MiB."""
    times, memory = {tool: [] for tool in tools}, {}
    if arguments.raw:
        wanted = work | {"image_size": arguments.image_size, "isa": arguments.isa}
        for record in filter(lambda record: wanted.items() <= record.items() and record["tool"] in times, arguments.raw):
            times[record["tool"]].append(record["median_ms"])
            memory[record["tool"]] = max(record["memory_mib"], memory.get(record["tool"], 0))
        return times, memory
    for turn in range(arguments.rounds):
        for tool in tools:
            if turn > 0 and sits_out(tool, times):
                continue
            median, mebibytes = measurement(arguments, tool, work)
            times[tool].append(median)
            memory[tool] = max(mebibytes, memory.get(tool, 0))
            record = {"tool": tool, **work, "image_size": arguments.image_size, "isa": arguments.isa, "round": turn}
            print(json.dumps(record | {"median_ms": median, "memory_mib": mebibytes}), flush=True)
    return times, memory


def sits_out(tool, times):
    family = tool.partition("-")[0]
    best = min(runs[0] for other, runs in times.items() if runs and other.startswith(family))
    return times[tool][0] > SLOWER * best


def best(times, family):
    """The mode with the best median, that median, and the least time of all modes; nothing where there are no runs."""
    found = {tool: statistics.median(runs) for tool, runs in times.items() if runs and tool.startswith(family)}
    if not found:
        return None
    tool = min(found, key=found.get)
    least = min(min(times[tool]) for tool in found)
    return tool, found[tool], least


def compare(arguments, mode, batch_size, networks, tools):
    families = list(dict.fromkeys(tool.partition("-")[0] for tool in tools if not tool.startswith("elimnet")))
    heading = " | ".join(f"{family} images/s (mode), MiB | ours over it (by the least)" for family in families)
    lines = [f"\n{mode}, batch {batch_size}, {arguments.image_size} px", f"| network | elimnet images/s (mode), MiB | {heading} |"]
    lines.append("|---|---|" + "---|---|" * len(families))
    ratios = {family: [] for family in families}
    for name in networks:
        times, memory = rounds(arguments, {"mode": mode, "network": name, "batch_size": batch_size}, tools)
        if not best(times, "elimnet"):
            continue
        tool, ours, our_least = best(times, "elimnet")
        cells = [name, f"{batch_size / ours * 1e3:.1f} ({tool.removeprefix('elimnet-')}), {memory[tool]:.0f}"]
        for family in families:
            if not best(times, family):
                cells += ["", ""]
                continue
            tool, theirs, their_least = best(times, family)
            ratios[family].append((theirs / ours, their_least / our_least))
            cells += [
                f"{batch_size / theirs * 1e3:.1f} ({tool.removeprefix(family + '-')}), {memory[tool]:.0f}",
                f"{theirs / ours:.2f} ({their_least / our_least:.2f})",
            ]
        lines.append("| " + " | ".join(cells) + " |")
        print(lines[-1], file=sys.stderr, flush=True)
    means = " | ".join(f"| {geometric_means(ratios[family])}" for family in families)
    return lines + [f"| geometric mean | | {means} |"] if any(ratios.values()) else []


def geometric_means(ratios):
    mean = lambda values: f"{statistics.geometric_mean(values):.2f}"
    return "{} ({})".format(*map(mean, zip(*ratios))) if ratios else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elimnet", default="target/release/elimnet")
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--modes", nargs="+", default=["train", "infer"], choices=["train", "infer"])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 32], help="of inference; training takes 32")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement, about")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--isa", choices=list(LIMITS))
    parser.add_argument("--tools", nargs="+", help="only these, say elimnet-f32 onnxruntime-f32")
    parser.add_argument("--raw", nargs="+", type=pathlib.Path, metavar="FILE", help="tables of these lines, nothing is measured")
    arguments = parser.parse_args()
    if arguments.raw:
        arguments.raw = [json.loads(line) for path in arguments.raw for line in path.read_text().splitlines()]
    is_wanted = lambda tool: not arguments.tools or tool in arguments.tools
    ours, lines = list(filter(is_wanted, OURS[:1] if arguments.isa else OURS)), []
    for mode in arguments.modes:
        peers = [peer for peer in PEERS[mode] if is_wanted(peer) and (not arguments.isa or peer.startswith("torch-f32"))]
        for batch_size in [32] if mode == "train" else arguments.batch_sizes:
            lines += compare(arguments, mode, batch_size, arguments.networks, ours + peers)
    print("\n".join(lines), file=sys.stderr)


if __name__ == "__main__":
    main()
