"""Where golden files go and how they are written: one entry a line, so that a change shows in a diff."""

import json
from pathlib import Path

import torch

DIRECTORY = Path(__file__).resolve().parent.parent / "crates" / "elimnet-testing" / "golden"


def versions() -> dict:
    import torchvision

    return {"torch": torch.__version__.split("+")[0], "torchvision": torchvision.__version__.split("+")[0]}


def single(values) -> list[float]:
    """Values as the shortest decimals that read back to the same f32."""
    flat = torch.as_tensor(values, dtype=torch.float32).reshape(-1)
    return [float(str(v)) for v in flat.numpy()]


def write_json(name: str, content: dict) -> None:
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    path = DIRECTORY / name
    path.write_text(_lines(content, 0) + "\n")
    print(f"{path.name}: {path.stat().st_size:,} bytes")


def _lines(value, depth: int) -> str:
    flat = json.dumps(value, separators=(",", ":"))
    if len(flat) <= 200 or not isinstance(value, (dict, list)) or not _nested(value):
        return flat
    pad = " " * (depth + 1)
    if isinstance(value, dict):
        rows = [f"{pad}{json.dumps(k)}:{_lines(v, depth + 1)}" for k, v in value.items()]
        return "{\n" + ",\n".join(rows) + "\n" + " " * depth + "}"
    rows = [pad + _lines(v, depth + 1) for v in value]
    return "[\n" + ",\n".join(rows) + "\n" + " " * depth + "]"


def _nested(value) -> bool:
    items = value.values() if isinstance(value, dict) else value
    return any(isinstance(item, (dict, list)) for item in items)
