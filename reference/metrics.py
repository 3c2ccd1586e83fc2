"""Writes `metrics.json`: classification metrics, losses with gradients, learning rates, optimizer steps.

From scikit-learn (zero_division=0) and torch in f64, on small inputs that are in the file.
"""

import formula
import golden
import sklearn
import torch
from sklearn import metrics
from torch.nn import functional as F

# name: (classes, truth, prediction)
PREDICTIONS = {
    "perfect": (3, [0, 1, 2, 2, 1, 0], [0, 1, 2, 2, 1, 0]),
    "mixed": (4, [0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 3, 0], [0, 1, 1, 1, 2, 2, 0, 3, 3, 1, 3, 0]),
    "a class without support": (4, [0, 0, 1, 3, 3], [0, 2, 1, 3, 2]),
    "a class without predictions": (3, [0, 1, 2, 2, 1], [0, 1, 1, 0, 1]),
    "a class with neither": (4, [0, 1, 3, 3], [1, 1, 3, 0]),
    "all wrong": (2, [0, 0, 1, 1, 1], [1, 1, 0, 0, 0]),
    "one image": (6, [4], [4]),
}


def classification(name: str) -> dict:
    classes, truth, predicted = PREDICTIONS[name]
    labels = list(range(classes))
    options = {"labels": labels, "zero_division": 0}
    precision, recall, f1, support = metrics.precision_recall_fscore_support(truth, predicted, **options)
    return {
        "name": name,
        "classes": classes,
        "truth": truth,
        "predicted": predicted,
        "accuracy": metrics.accuracy_score(truth, predicted),
        "macro_f1": metrics.f1_score(truth, predicted, average="macro", **options),
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "f1": f1.tolist(),
        "support": [int(n) for n in support],  # scikit-learn gives floats where nothing is right
        "confusion": metrics.confusion_matrix(truth, predicted, labels=labels).tolist(),
    }


def loss(name: str, scale: float, smoothing: float = 0.0, counts=None, tau: float = 1.0) -> dict:
    """Mean cross-entropy of [4, 5] logits; with `counts`, `tau * ln(prior)` is added to them (Menon et al. 2021)."""
    labels = [2, 0, 4, 2]
    logits = torch.from_numpy(scale * formula.symmetric("logits", 20).reshape(4, 5)).float().double().requires_grad_()
    prior = torch.tensor(counts, dtype=torch.float64) / sum(counts) if counts else torch.ones(5, dtype=torch.float64)
    adjusted = logits + tau * prior.log()
    value = F.cross_entropy(adjusted, torch.tensor(labels), label_smoothing=smoothing)
    value.backward()
    return {
        "name": name,
        "classes": 5,
        "labels": labels,
        "logits": golden.single(logits.detach()),
        "label_smoothing": smoothing,
        "class_counts": counts,
        "tau": tau,
        "loss": value.item(),
        "gradient": logits.grad.reshape(-1).tolist(),
    }


def one_cycle(total_steps: int, max_lr: float, **options) -> dict:
    """The rate and momentum that each of `total_steps` optimizer steps uses.

    torch divides by zero where `pct_start * total_steps` is 1: a warm-up of one step.
    """
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=max_lr, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr, total_steps=total_steps, **options)
    group, rates, momenta = optimizer.param_groups[0], [], []
    for step in range(total_steps):
        rates.append(group["lr"])
        momenta.append(group["momentum"])
        optimizer.step()
        if step + 1 < total_steps:
            schedule.step()
    settings = {"pct_start": 0.3, "cycle_momentum": True} | options
    return {"total_steps": total_steps, "max_lr": max_lr} | settings | {"rates": rates, "momenta": momenta}


def descent(name: str, options: dict, steps: int = 8) -> dict:
    """Minimises 0.5 * sum(curvature * x^2) in f64; the parameters after each step."""
    curvature = torch.tensor([1.0, 10.0, 0.1, 0.0], dtype=torch.float64)
    x = torch.tensor([1.0, -2.0, 3.0, 0.5], dtype=torch.float64, requires_grad=True)
    optimizer = getattr(torch.optim, name)([x], **options)
    start, path = x.tolist(), []
    for _ in range(steps):
        optimizer.zero_grad()
        (0.5 * curvature * x**2).sum().backward()
        optimizer.step()
        path.append(x.tolist())
    settings = {k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}
    return {"optimizer": name, "options": settings, "curvature": curvature.tolist(), "start": start, "path": path}


if __name__ == "__main__":
    golden.write_json(
        "metrics.json",
        {
            "versions": golden.versions() | {"scikit-learn": sklearn.__version__},
            "classification": [classification(name) for name in PREDICTIONS],
            "losses": [
                loss("plain", 2.0),
                loss("smoothed", 2.0, smoothing=0.1),
                loss("large logits", 800.0),
                loss("adjusted", 2.0, counts=[100, 50, 20, 5, 1]),
                loss("adjusted by half", 2.0, counts=[100, 50, 20, 5, 1], tau=0.5),
                loss("adjusted and smoothed", 2.0, smoothing=0.2, counts=[3, 3, 9, 27, 1]),
            ],
            "one_cycle": [
                one_cycle(200, 0.1, pct_start=0.05),
                one_cycle(100, 0.05, pct_start=0.05),
                one_cycle(37, 0.1, pct_start=0.05),
                one_cycle(10, 1.0, pct_start=0.3),
                one_cycle(25, 0.01, pct_start=0.05, cycle_momentum=False),
                one_cycle(40, 0.05, pct_start=0.25, div_factor=10.0, final_div_factor=100.0),
            ],
            "optimizers": [
                descent("SGD", {"lr": 0.05}),
                descent("SGD", {"lr": 0.05, "momentum": 0.9}),
                descent("SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-2}),
                descent("SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-2, "nesterov": True}),
                descent("AdamW", {"lr": 0.1, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}),
                descent("AdamW", {"lr": 0.1, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.1}),
                descent("AdamW", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.01}),
            ],
        },
    )
