"""Reads the event files of a run with TensorBoard's own reader and holds them against metrics.jsonl.

Usage: pip install tensorboard==2.21.0, then: python reference/read_tensorboard.py RUN
where RUN was trained with: elimnet train ... --tensorboard
"""

import json
import pathlib
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def expected(record):
    for split in ("train", "validation"):
        for name, value in (record[split] or {}).items():
            yield f"{name}/{split}", value
    for name in ("learning_rate", "images_per_second") if record["train"] else ():
        yield name, record[name]


def as_f32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


def main(run):
    run = pathlib.Path(run)
    events = EventAccumulator(str(run))
    events.Reload()
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    tags = {tag for record in metrics for tag, _ in expected(record)}
    assert set(events.Tags()["scalars"]) == tags, events.Tags()["scalars"]
    for tag in sorted(tags):
        found = [(event.step, event.value) for event in events.Scalars(tag)]
        told = [(record["epoch"], dict(expected(record))) for record in metrics]
        assert found == [(epoch, as_f32(values[tag])) for epoch, values in told if tag in values], (tag, found)
        print(f"{tag:22}", " ".join(f"{step}:{value:.4g}" for step, value in found))
    print(len(tags), "tags,", len(metrics), "epochs: equal to metrics.jsonl")


if __name__ == "__main__":
    main(*sys.argv[1:2])
