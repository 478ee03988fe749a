"""Makes every file in src/layerscope/demo/files from Fashion-MNIST's four IDX files, seeded.

    python scripts/train_demo.py --data FOLDER

About 3 minutes for the standard network and 11 for its adversarially trained twin on two cores. Debian's package
`dataset-fashion-mnist` holds those files. Prints the accuracies that `files/README.md` quotes.
"""

import argparse
import gzip
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from layerscope.demo.model import ResidualNetwork

FILES = Path(__file__).parents[1] / "src/layerscope/demo/files"
MEAN, DEVIATION = 0.2860, 0.3530
EPSILON = 8 / 255
CLASS_NAMES = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Boot"]


def read_idx(path: Path) -> Tensor:
    """An IDX file of unsigned bytes as a tensor."""
    raw = gzip.decompress(path.read_bytes())
    sizes = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(raw[3])]
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(sizes).copy())


def normalise(images: Tensor) -> Tensor:
    return (images - MEAN) / DEVIATION


def perturb(model: nn.Module, images: Tensor, labels: Tensor, steps: int) -> Tensor:
    """PGD (Madry et al. 2018, arXiv:1706.06083) in pixel space from a random start."""
    attacked = (images + torch.empty_like(images).uniform_(-EPSILON, EPSILON)).clamp(0, 1)
    for _ in range(steps):
        attacked.requires_grad_(True)
        loss = cross_entropy(model(normalise(attacked)), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, attacked)
        attacked = attacked.detach() + 2.5 * EPSILON / steps * gradient.sign()
        attacked = (images + (attacked - images).clamp(-EPSILON, EPSILON)).clamp(0, 1)
    return attacked


def accuracy(model: nn.Module, images: Tensor, labels: Tensor, steps: int = 0) -> float:
    """Share of right answers; after PGD of `steps` steps if any."""
    model.eval()
    right = 0
    for batch, answer in zip(images.split(500), labels.split(500), strict=True):
        shown = perturb(model, batch, answer, steps) if steps else batch
        with torch.no_grad():
            right += int((model(normalise(shown)).argmax(1) == answer).sum())
    return right / len(labels)


def train(images: Tensor, labels: Tensor, *, epochs: int, adversary_steps: int, seed: int) -> nn.Module:
    """SGD with a one-cycle schedule and horizontal flips; on PGD images where `adversary_steps` > 0."""
    torch.manual_seed(seed)
    model = ResidualNetwork()
    optimiser = torch.optim.SGD(model.parameters(), 0.2, momentum=0.9, weight_decay=5e-4, nesterov=True)
    batches = len(images) // 128
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.2, total_steps=epochs * batches)
    for epoch in range(epochs):
        start = time.perf_counter()
        for rows in torch.randperm(len(images))[: batches * 128].split(128):
            batch, answer = images[rows], labels[rows]
            batch = torch.where(torch.rand(128, 1, 1, 1) < 0.5, batch.flip(3), batch)
            if adversary_steps:
                model.eval()
                batch = perturb(model, batch, answer, adversary_steps)
            model.train()
            loss = cross_entropy(model(normalise(batch)), answer)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        print(f"epoch {epoch + 1}/{epochs}: loss {loss.item():.3f}, {time.perf_counter() - start:.0f} s", flush=True)
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the four IDX .gz files")
    data = parser.parse_args().data
    images, labels = (read_idx(data / f"train-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
    test_images, test_labels = (read_idx(data / f"t10k-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))

    FILES.mkdir(parents=True, exist_ok=True)
    for part, seed, size, pictures, answers in (
        ("fit", 0, 4000, images, labels),
        ("test", 1, 2000, test_images, test_labels),
    ):
        rows = np.random.default_rng(seed).permutation(len(pictures))[:size]
        np.savez_compressed(
            FILES / f"fashion-mnist-{part}.npz",
            inputs=pictures[rows].numpy(),
            labels=answers[rows].numpy(),
            class_names=np.array(CLASS_NAMES),
        )

    pixels, answers = images[:, None] / 255, labels.long()
    test_pixels, test_answers = test_images[:, None] / 255, test_labels.long()
    for name, epochs, adversary_steps in (("standard", 8, 0), ("robust", 8, 4)):
        model = train(pixels, answers, epochs=epochs, adversary_steps=adversary_steps, seed=0)
        save_file(model.state_dict(), FILES / f"{name}.safetensors")
        clean, attacked = accuracy(model, test_pixels, test_answers), accuracy(model, test_pixels, test_answers, 20)
        print(f"{name}: accuracy {clean:.4f}, under PGD-20 at Linf 8/255 {attacked:.4f}", flush=True)


if __name__ == "__main__":
    main()
