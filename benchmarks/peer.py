"""One measurement of one peer, in a process of its own: prints one JSON line with the median time of a batch, and the most
memory that the process had, less what it had once all was imported.

    python benchmarks/peer.py torch-bf16 --mode train --network resnet18 --batch-size 32 --image-size 224

Peers: torch-f32, torch-f32-nhwc, torch-bf16, torch-bf16-nhwc (autocast; nhwc is channels-last), onnxruntime-f32,
openvino-f32, openvino-bf16. Inputs are random, weights too; every peer gets the same number of threads.
"""

import argparse
import contextlib
import io
import json
import resource
import statistics
import time

import numpy
import torch
from networks import network
from torch import nn


def measure(arguments, run):
    """Times of the counted runs in seconds, after two of warm-up."""
    for _ in range(2):
        run()
    times, started = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - started < arguments.seconds:
        before = time.perf_counter()
        run()
        times.append(time.perf_counter() - before)
    return times


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def torch_peer(arguments, net, pixels):
    torch.set_num_threads(arguments.threads)
    autocast = torch.autocast("cpu", torch.bfloat16) if "bf16" in arguments.peer else contextlib.nullcontext()
    images = torch.from_numpy(pixels)
    if arguments.peer.endswith("nhwc"):
        net, images = net.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    if arguments.mode == "infer":
        net.eval()

        @torch.inference_mode()
        def infer():
            with autocast:
                net(images)

        return measure(arguments, infer)
    net.train()
    labels = torch.arange(arguments.batch_size) % arguments.classes
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6, momentum=0.9)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with autocast:
            loss = nn.functional.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()

    return measure(arguments, step)


def onnx(net, pixels):
    with contextlib.redirect_stdout(io.StringIO()):
        program = torch.onnx.export(net.eval(), (torch.from_numpy(pixels),), dynamo=True, verbose=False)
    return program.model_proto.SerializeToString()


def onnxruntime_peer(arguments, net, pixels):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    session = onnxruntime.InferenceSession(onnx(net, pixels), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return measure(arguments, lambda: session.run(None, {name: pixels}))


def openvino_peer(arguments, net, pixels):
    import openvino

    core = openvino.Core()
    model = core.read_model(onnx(net, pixels))
    precision = "bf16" if arguments.peer.endswith("bf16") else "f32"
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": arguments.threads}
    settings["PERFORMANCE_HINT"] = "LATENCY"
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return measure(arguments, lambda: request.infer([pixels]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer")
    parser.add_argument("--mode", choices=["train", "infer"], required=True)
    parser.add_argument("--network", required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--classes", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    imported = peak_mib()
    net = network(arguments.network, arguments.classes)
    shape = (arguments.batch_size, 3, arguments.image_size, arguments.image_size)
    pixels = numpy.random.default_rng(0).standard_normal(shape, dtype=numpy.float32)
    run = {"torch": torch_peer, "onnxruntime": onnxruntime_peer, "openvino": openvino_peer}
    times = run[arguments.peer.partition("-")[0]](arguments, net, pixels)
    print(json.dumps({"median_ms": statistics.median(times) * 1e3, "runs": len(times), "memory_mib": peak_mib() - imported}))


if __name__ == "__main__":
    main()
