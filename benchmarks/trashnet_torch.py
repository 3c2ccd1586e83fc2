"""The default recipe in PyTorch: fine-tunes torchvision's resnet18, cut or not, on an image folder.

What `elimnet train` does with the same options, written independently: zero-padding to a square, resize to 1.2 S,
random resized crop, flip; SGD with momentum under OneCycle, a step at a time; the best epoch by validation loss is tested.

    python benchmarks/trashnet_torch.py DATA --weights resnet18.pth --cut layer2 --image-size 64 --epochs 15 --seed 0

DATA has train/, val/ and test/ with a folder a class. One JSON line on stdout.
"""

import argparse
import json
import time

import torch
import torchvision
from sklearn.metrics import f1_score
from torch import nn
from torchvision import transforms
from torchvision.transforms import functional

STAGES = ["layer1", "layer2", "layer3", "layer4"]


def pad_to_square(image):
    width, height = image.size
    side = max(width, height)
    left, top = (side - width) // 2, (side - height) // 2
    return functional.pad(image, [left, top, side - width - left, side - height - top])


def dataset(root, split, size):
    normalize = [transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    if split == "train":
        side = int(1.2 * size)
        steps = [transforms.Resize((side, side)), transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip()]
    else:
        steps = [transforms.Resize((size, size))]
    transform = transforms.Compose([transforms.Lambda(pad_to_square), *steps, *normalize])
    return torchvision.datasets.ImageFolder(f"{root}/{split}", transform)


def network(classes, weights, cut):
    net = torchvision.models.resnet18()
    if weights:
        state = torch.load(weights, weights_only=True)
        net.fc = nn.Linear(512, state["fc.bias"].numel())
        net.load_state_dict(state)
    kept = STAGES[: STAGES.index(cut) + 1]
    for stage in STAGES[len(kept) :]:
        setattr(net, stage, nn.Identity())
    channels = {"layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512}[cut]
    net.fc = nn.Linear(channels, classes)
    return net


@torch.no_grad()
def evaluate(net, loader):
    net.eval()
    logits, labels = zip(*[(net(images), labels) for images, labels in loader])
    logits, labels = torch.cat(logits), torch.cat(labels)
    predicted = logits.argmax(1)
    return {
        "loss": nn.functional.cross_entropy(logits, labels).item(),
        "accuracy": (predicted == labels).float().mean().item(),
        "macro_f1": f1_score(labels, predicted, average="macro"),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--weights")
    parser.add_argument("--cut", choices=STAGES, default="layer4")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    data = {split: dataset(arguments.data, split, arguments.image_size) for split in ["train", "val", "test"]}
    loaders = {
        split: torch.utils.data.DataLoader(
            set_, arguments.batch_size, shuffle=split == "train", num_workers=arguments.workers, persistent_workers=True
        )
        for split, set_ in data.items()
    }
    net = network(len(data["train"].classes), arguments.weights, arguments.cut)
    optimizer = torch.optim.SGD(net.parameters(), lr=arguments.learning_rate, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, arguments.learning_rate, epochs=arguments.epochs, steps_per_epoch=len(loaders["train"]), pct_start=0.05
    )
    best, seconds = None, 0.0
    for epoch in range(arguments.epochs):
        net.train()
        started = time.perf_counter()
        for images, labels in loaders["train"]:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images), labels).backward()
            optimizer.step()
            schedule.step()
        seconds += time.perf_counter() - started
        validation = evaluate(net, loaders["val"])
        if best is None or validation["loss"] < best["validation"]["loss"]:
            state = {name: value.clone() for name, value in net.state_dict().items()}
            best = {"epoch": epoch + 1, "validation": validation, "state": state}
    net.load_state_dict(best.pop("state"))
    record = vars(arguments) | {
        "parameters": sum(p.numel() for p in net.parameters()),
        "train_images_per_second": len(data["train"]) * arguments.epochs / seconds,
        "torch": torch.__version__,
        **best,
        "test": evaluate(net, loaders["test"]),
    }
    print(json.dumps({name: value for name, value in record.items() if name not in ["data", "weights"]} | {"pretrained": bool(arguments.weights)}))


if __name__ == "__main__":
    main()
