"""The command line: words to calls."""

import io
import shlex
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from layerscope import explorer, figures, recording
from layerscope.atlas import Scaling
from layerscope.decoding import causal as causal_stage
from layerscope.decoding import decode as decode_codes
from layerscope.decoding import save_decoding, write_decoding
from layerscope.errors import LayerscopeError
from layerscope.export import export as export_samples
from layerscope.layers import layer_table
from layerscope.models import load_network
from layerscope.printing import (
    causal_table,
    decoding_table,
    flow_table,
    layers_table,
    measures_table,
    profile_table,
    robustness_table,
    telescope_table,
)
from layerscope.report import MAX_MB
from layerscope.results import findings
from layerscope.robustness import robustness
from layerscope.run import DECODING, Run, load_run
from layerscope.sources import load_data
from layerscope.store import save_table, write
from layerscope.study import Study
from layerscope.summary import attack_pairs, causal_summary, summary

app = typer.Typer(
    help="An atlas of a trained network's internal codes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help wraps; boxes cut the formats off
)

MODEL_HELP = (
    "Network: `torchvision:NAME[@WEIGHTS]`, `timm:NAME`, `hf:ORG/NAME[@REV]`, `hf:FOLDER`, `onnx:FILE`, "
    "`file:PROGRAM.pt2`, `py:package.module:factory`."
)
DATA_HELP = (
    "Samples: `folder:PATH`, `npz:FILE`, `parquet:FILE`, `hf:NAME[@REV]:SPLIT`, `fashion-mnist:PATH`, "
    "`py:package.module:factory`."
)
Model = Annotated[str, typer.Option(help=MODEL_HELP)]
Source = Annotated[str, typer.Option(help=DATA_HELP)]
Out = Annotated[Path, typer.Option(help="Folder of the run.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Delete a run made with other options that stands there.")]
Seed = Annotated[int, typer.Option(help="Of everything that is drawn.")]
MaxSamples = Annotated[
    int | None, typer.Option(help="Show so many samples, drawn from every class in proportion; by default all.")
]


@app.command(epilog="Example: layerscope demo --out runs/demo")
def demo(out: Out = Path("runs/demo"), seed: Seed = 0, overwrite: Overwrite = False) -> None:
    """Measure the bundled network on the bundled images: two to three minutes on two cores."""
    with _told():
        study = Study(
            out, "py:layerscope.demo:network", "py:layerscope.demo:test_data", fit_data="py:layerscope.demo:fit_data",
            grid=(12, 12), decode=("blocks.*|mean",), seed=seed, overwrite=overwrite,
        )  # fmt: skip
        _show(study.run())


@app.command(
    epilog="Example: layerscope run --model py:my_package.nets:make --data folder:images/val "
    "--attack pgd:linf=8/255 --out runs/mine"
)
def run(
    model: Model,
    data: Source,
    out: Out,
    fit_data: Annotated[
        str | None, typer.Option(help="Other samples to fit the maps to; by default two thirds of the data.")
    ] = None,
    layers: Annotated[
        list[str] | None, typer.Option(help="Name or pattern of layers, several times if need be; by default `auto`.")
    ] = None,
    attack: Annotated[
        list[str] | None,
        typer.Option(help="`pgd:linf=8/255[,steps=10]`, repeatable; or `none`. By default pgd:linf=8/255."),
    ] = None,
    smallest: Annotated[
        str, typer.Option(help="What looks for the smallest perturbations: `fmn:linf`, `bisect:l2`, ...; or `none`.")
    ] = "auto",
    reduction: Annotated[
        list[str] | None, typer.Option(help="`mean`, `flatten`, `sketch:SIZE`; by default mean and sketch:512.")
    ] = None,
    grid: Annotated[str | None, typer.Option(help="ROWSxCOLUMNS of the maps; by default from the data.")] = None,
    scaling: Annotated[
        Scaling, typer.Option(help="`own` keeps each layer's scale, `standard` each feature's.")
    ] = "own",
    align: Annotated[bool, typer.Option(help="Maps follow one another through the depth.")] = True,
    untrained: Annotated[int, typer.Option(help="Draws of the untrained null.")] = 5,
    draws: Annotated[int, typer.Option(help="Bootstrap draws and label permutations.")] = 200,
    batch_size: Annotated[int, typer.Option(help="Samples per forward pass.")] = 250,
    decode: Annotated[
        list[str] | None, typer.Option(help="Layers to invert for the explorer, as 'blocks.*|mean'; repeatable.")
    ] = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Measure a network of your own, and write a report."""
    with _told():
        study = Study(
            out,
            model,
            data,
            fit_data=fit_data,
            layers=layers or "auto",
            reductions=tuple(reduction or ("mean", "sketch:512")),
            attack=None if attack == ["none"] else tuple(attack or ("pgd:linf=8/255",)),
            smallest=None if smallest == "none" else smallest,
            grid=_grid(grid),
            align=align,
            scaling=scaling,
            untrained=untrained,
            draws=draws,
            batch_size=batch_size,
            decode=tuple(decode or ()),
            seed=seed,
            overwrite=overwrite,
        )
        _show(study.run())


@app.command(
    epilog="Example: layerscope record --model timm:resnet18.a1_in1k --data folder:images/val "
    "--layers 'layer?.*|mean' --out recordings/resnet18"
)
def record(
    model: Model,
    data: Source,
    out: Annotated[Path, typer.Option(help="Folder of the recording.")],
    layers: Annotated[
        list[str] | None,
        typer.Option(help="`auto`, a name or a pattern, with a reduction after a bar if it has its own; repeatable."),
    ] = None,
    reduction: Annotated[
        list[str] | None,
        typer.Option(help="`mean`, `max`, `cls`, `last`, `flatten`, `sketch:SIZE`, `positions:N`, `tokens`."),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Take this many samples, drawn at random.")] = None,
    dtype: Annotated[str, typer.Option(help="`float32`, `float16` or `bfloat16` on disk.")] = "float32",
    logits: Annotated[bool, typer.Option(help="Keep them; without, a pass ends with the last wanted layer.")] = True,
    pictures: Annotated[int, typer.Option(help="Keep images, at most so many pixels a side, or texts; 0: none.")] = 0,
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave out images that can't be read, and say how many.")
    ] = False,
    batch_size: Annotated[int, typer.Option(help="Samples per forward pass.")] = 250,
    seed: Seed = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete a recording of something else there.")] = False,
) -> None:
    """Keep what the layers say to every sample. A killed recording goes on when the same command is given again."""
    with _told():
        network = load_network(model)
        samples = load_data(data, limit=limit, seed=seed, resize=network.resize, skip_unreadable=skip_unreadable)
        made = recording.record(
            network,
            samples,
            layers or "auto",
            out,
            reductions=tuple(reduction or ("mean", "sketch:512")),
            dtype=dtype,
            logits=logits,
            pictures=pictures,
            batch_size=batch_size,
            overwrite=overwrite,
        )
        plain = Console(soft_wrap=True, highlight=False, markup=False)
        plain.print(f"{len(made):,} samples x {len(made.layers)} layers: {', '.join(map(str, made.layers))}")
        plain.print(f"Recording: {out}")


@app.command(epilog="Example: layerscope layers torchvision:resnet18")
def layers(
    model: Annotated[str, typer.Argument(help=MODEL_HELP)],
    data: Annotated[str | None, typer.Option(help=f"{DATA_HELP} Two samples of it are run.")] = None,
    shape: Annotated[str | None, typer.Option(help="Or the shape of one input of numbers, such as 3x224x224.")] = None,
    reduction: Annotated[list[str] | None, typer.Option(help="Whose widths are shown; repeatable.")] = None,
) -> None:
    """List the layers of a network: name, type, output shape, width and bytes per sample under each reduction."""
    with _told():
        network = load_network(model)
        if data is not None:
            two = load_data(data, limit=2, resize=network.resize)
            samples = two.take(two.rows[:2]).inputs
        else:
            samples = network.blank(2, _shape(shape))
        wanted = tuple(reduction or ("mean", "sketch:512"))
        _print_whole(layers_table(layer_table(network, samples, wanted), wanted))
        Console(highlight=False).print("* picked by `auto`; bytes are of one sample in float32", markup=False)


@app.command(epilog="Example: layerscope profile runs/mine")
def profile(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    measure: Annotated[list[str] | None, typer.Option(help="Of these measures alone; repeatable.")] = None,
) -> None:
    """Print every measure of a finished run beside its nulls; write the telescope's figure and table beside it."""
    with _told():
        finished = load_run(folder)
        known = list(dict.fromkeys(finished.profile["measure"]))
        unknown = [name for name in measure or () if name not in known]
        if unknown:
            raise ValueError(f"`--measure` {unknown[0]!r} was not measured; the run holds: {', '.join(known)}.")
        _print_whole(measures_table(finished.results, measure or known))
        _print_whole(telescope_table(finished.results))
        picture, numbers = finished.save_profile()
        plain = Console(soft_wrap=True, highlight=False, markup=False)
        for sentence in summary(finished.results):
            plain.print(fill(sentence, min(plain.width, 100), initial_indent="- ", subsequent_indent="  "))
        plain.print(f"Figure: {picture}")
        plain.print(f"Numbers: {numbers}")


@app.command(
    epilog="Example: layerscope attack --model py:nets:make --data folder:images/val --attack pgd:linf=8/255,steps=50 "
    "--attack apgd-dlr:linf=8/255 --attack fmn:l2 --out attacked.parquet"
)
def attack(
    model: Model,
    data: Source,
    attack: Annotated[
        list[str],
        typer.Option(
            help="KIND:NORM=SIZE[,OPTION=VALUE]: fgsm, pgd, apgd-ce, apgd-dlr, noise, uniform; fmn:NORM and "
            "bisect:NORM look for the smallest. Repeatable."
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="Parquet file for what each sample is answered.")] = None,
    surrogate: Annotated[
        str | None, typer.Option(help="Another network of the same classes, to see whether its attacks carry over.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Take this many samples, drawn at random.")] = None,
    batch_size: Annotated[int, typer.Option(help="Samples attacked together.")] = 250,
    seed: Seed = 0,
) -> None:
    """Attack a network: the accuracy that is left, the smallest perturbations, and checks of the attacks themselves."""
    with _told():
        network = load_network(model)
        samples = load_data(data, limit=limit, seed=seed, resize=network.resize)
        found = robustness(network, samples, attack, surrogate=surrogate, batch_size=batch_size, seed=seed)
        plain = Console(soft_wrap=True, highlight=False, markup=False)
        _print_whole(robustness_table(found))
        for spec, made in found.checks.items():
            failed = [one for one in made if not one.passed]
            plain.print(f"{spec}: {len(made) - len(failed)} of {len(made)} checks passed")
            for one in failed:
                plain.print(f"  Warning: {one.name}: no. {one.told}")
        if out is not None:
            save_table(out, found.samples)
            plain.print(f"Samples: {out}")


@app.command(epilog="Example: layerscope causal runs/mine --reduction mean --limit 300")
def causal(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    model: Annotated[str | None, typer.Option(help=f"Where the run was made from an object. {MODEL_HELP}")] = None,
    data: Annotated[str | None, typer.Option(help=f"Where the run was made from an object. {DATA_HELP}")] = None,
    layer: Annotated[list[str] | None, typer.Option(help="Of these layers alone; repeatable.")] = None,
    reduction: Annotated[list[str] | None, typer.Option(help="Under these alone: not `max`, not `sketch`.")] = None,
    limit: Annotated[int, typer.Option(help="Samples that are moved, drawn at random.")] = causal_stage.SAMPLES,
    dose: Annotated[
        list[float] | None, typer.Option(help="Multiples of the difference, 1 among them; by default 0 to 2.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Samples per forward pass.")] = 250,
    seed: Seed = 0,
) -> None:
    """Move layers to other classes' codes and see whether the answer follows: codes that tell, and codes that act."""
    with _told():
        finished = load_run(folder)
        found = causal_stage.causal(
            finished, network=model, data=data, layers=layer, reductions=reduction, limit=limit,
            doses=dose or causal_stage.DOSES, batch_size=batch_size, seed=seed,
        )  # fmt: skip
        numbers, pairs = found.save(folder)
        picture, target = folder / "causal.png", io.BytesIO()
        figures.causals(found, finished).savefig(target, format="png", dpi=150)
        write(picture, target.getvalue())
        for name in found.results["reduction"].unique():
            _print_whole(causal_table(found.results, name))
        plain = Console(soft_wrap=True, highlight=False, markup=False)
        for sentence in causal_summary(found.results):
            plain.print(fill(sentence, min(plain.width, 100), initial_indent="- ", subsequent_indent="  "))
        for what, path in (("Figure", picture), ("Numbers", numbers), ("Pairs of classes", pairs)):
            plain.print(f"{what}: {path}")


@app.command(epilog="Example: layerscope decode runs/demo --layer 'blocks.*|mean'")
def decode(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    layer: Annotated[str, typer.Option(help="Name or pattern, with a reduction after a bar: 'blocks.*|mean'.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for sheets (PNG) and tables (Parquet); by default the run, as data for the explorer."
        ),
    ] = None,
    unit: Annotated[list[str] | None, typer.Option(help="A unit's number, repeatable; by default `all`.")] = None,
    model: Annotated[str | None, typer.Option(help=f"Where the run was made from an object. {MODEL_HELP}")] = None,
    data: Annotated[str | None, typer.Option(help=f"Where the run was made from an object. {DATA_HELP}")] = None,
    attribution: Annotated[
        str, typer.Option(help="`integrated-gradients`, `gradient-x-input`, `occlusion` (need captum), or `none`.")
    ] = "auto",
    inversion: Annotated[bool, typer.Option(help="Make an input for every unit.")] = True,
    seed: Seed = 0,
) -> None:
    """Draw what codes stand for: exemplars, inversions, attributions, names, and how far they are to be trusted."""
    with _told():
        found = decode_codes(
            load_run(folder), layer, _units(unit), network=model, data=data, seed=seed,
            attribution=None if attribution == "none" else attribution, recipe="auto" if inversion else None,
        )  # fmt: skip
        if out is None:
            written = save_decoding(found, folder / DECODING)
        else:
            written = write_decoding(found, out, sheets_of_units=unit not in (None, ["all"]))
        _print_whole(decoding_table(findings(found.results)))
        plain = Console(soft_wrap=True, highlight=False, markup=False)
        for path in written:
            plain.print(f"Written: {path}")
        if out is None:
            plain.print(f"To have it in the report, too: layerscope report {shlex.quote(str(folder))}")


@app.command(epilog="Example: layerscope export runs/demo --to embedding-atlas --layer blocks.3 --out demo-atlas")
def export(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    to: Annotated[str, typer.Option(help="`csv`, `embedding-atlas`, `fiftyone` or `tensorboard`.")],
    out: Annotated[Path, typer.Option(help="Folder for the files, new or empty.")],
    layer: Annotated[str | None, typer.Option(help="Whose map gives x and y; by default the last block.")] = None,
    reduction: Annotated[str | None, typer.Option(help="Whose codes are written; by default the first.")] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(help="Whose columns are written, repeatable; by default all. Places are of the first."),
    ] = None,
    seed: Seed = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files of the same names there.")] = False,
) -> None:
    """Write the samples of a finished run, with their codes, for another tool to open."""
    with _told():
        made = export_samples(
            load_run(folder), to, out, layer=layer, reduction=reduction, conditions=condition, seed=seed,
            overwrite=overwrite,
        )  # fmt: skip
        plain = Console(soft_wrap=True, highlight=False, markup=False)
        for note in made.notes:
            plain.print(f"Note: {note}")
        for path in made.files:
            plain.print(f"Written: {path}")
        plain.print(f"{made.rows:,} samples; x and y: the map of {made.map}")
        if made.command:
            plain.print(f"Open with: {made.command}")


@app.command(epilog="Example: layerscope report runs/mine")
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    max_mb: Annotated[
        float, typer.Option(help="Leave out pictures, then samples, until it is no larger, in millions of bytes.")
    ] = MAX_MB,
    max_samples: MaxSamples = None,
) -> None:
    """Print a finished run's profile again, and write its report anew."""
    with _told():
        finished = load_run(folder)
        finished.report(max_mb=max_mb, max_samples=max_samples)
        _show(finished)


@app.command(epilog="Example: layerscope view runs/demo")
def view(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    port: Annotated[int, typer.Option(help="Of the page; 0 takes one that is free.")] = explorer.PORT,
    host: Annotated[str, typer.Option(help="`127.0.0.1`, `localhost` or `::1`.")] = explorer.HOST,
    browser: Annotated[bool, typer.Option(help="Open the page.")] = True,
    model: Annotated[str | None, typer.Option(help=f"Where the run was made from an object. {MODEL_HELP}")] = None,
    max_mb: Annotated[
        float | None,
        typer.Option(
            help="Leave out pictures, then samples, until so many million bytes are sent; by default nothing."
        ),
    ] = None,
    max_samples: MaxSamples = None,
) -> None:
    """Show a finished run in the browser, from this machine to this machine, until Ctrl-C ends it."""
    with _told():
        explorer.view(
            load_run(folder), network=model, host=host, port=port, open_browser=browser, max_samples=max_samples,
            max_mb=max_mb,
        )  # fmt: skip


def main() -> None:
    """Run the command that the arguments name."""
    app()


@contextmanager
def _told() -> Iterator[None]:
    """Failures that have a message of ours end the program with it, without a traceback."""
    errors = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    try:
        yield
    except KeyboardInterrupt:
        errors.print("Interrupted. Everything that was finished is kept: run the same command again and it goes on.")
        raise typer.Exit(130) from None
    except (LayerscopeError, ValueError, TypeError, ImportError, FileNotFoundError) as error:
        if not isinstance(error, (LayerscopeError, FileNotFoundError)) and not _is_ours(error):
            raise
        errors.print(f"Error: {error}")
        raise typer.Exit(2) from error


def _is_ours(error: Exception) -> bool:
    """Whether this package raised it; what a user's own code raises is shown with its traceback."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == __package__


def _grid(text: str | None) -> tuple[int, int] | None:
    """`12x12` as rows and columns."""
    if text is None:
        return None
    rows, _, columns = text.partition("x")
    if not rows.isdigit() or not columns.isdigit():
        raise ValueError(f"`--grid` must be ROWSxCOLUMNS, such as 12x12; got {text!r}.")
    return int(rows), int(columns)


def _units(given: list[str] | None) -> str | list[int]:
    """`all`, or numbers."""
    if given in (None, [], ["all"]):
        return "all"
    assert given is not None
    if not all(one.isdigit() for one in given):
        raise ValueError(f"`--unit` must be the number of a unit, or `all`; got {', '.join(given)}.")
    return [int(one) for one in given]


def _shape(text: str | None) -> tuple[int, ...] | None:
    """`3x224x224` as numbers."""
    if text is None:
        return None
    sizes = text.split("x")
    if not all(size.isdigit() and int(size) for size in sizes):
        raise ValueError(f"`--shape` must be sizes with x between them, such as 3x224x224; got {text!r}.")
    return tuple(map(int, sizes))


def _print_whole(shown: Table) -> None:
    """Print a table as wide as it needs: a name or a number cut in two can't be copied."""
    console = Console(highlight=False)
    # a measure is never wider than its console
    console.width = max(console.width, Console(width=10_000).measure(shown).maximum)
    console.print(shown)


def _show(finished: Run) -> None:
    """Print the profile, what was found and where the report lies."""
    console = Console(soft_wrap=False, highlight=False)
    results = finished.results
    for reduction in finished.recordings["clean"].reductions:
        console.print(profile_table(results, reduction))
        for attack, control in attack_pairs(results):
            console.print(flow_table(results, reduction, attack, control))
    if (results["measure"] == "compression").any():
        _print_whole(telescope_table(results))
    plain = Console(soft_wrap=True, highlight=False, markup=False)
    for sentence in summary(results):
        plain.print(fill(sentence, min(plain.width, 100), initial_indent="- ", subsequent_indent="  "))
    for row in findings(results[results["measure"].isin(("accuracy", "robust_accuracy"))]):
        plain.print(f"Accuracy, {row.condition}: {row.value:.1%} ({row.low:.1%} to {row.high:.1%}, n = {row.n})")
    for row in findings(results[results["measure"] == "smallest_perturbation"]):
        told = f"{row.value:.3g} {row.unit} ({row.low:.3g} to {row.high:.3g}, n = {row.n})"
        plain.print(f"Smallest perturbation, median, {row.condition}: {told}")
    plain.print(f"Report: {finished.folder / 'report.html'}")
    plain.print(f"Numbers: {finished.folder / 'results.parquet'}")
