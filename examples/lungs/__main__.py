"""Train the lung finder again and write it with its card.

    python -m examples.lungs --out embed/film_lungs.onnx
    python -m examples.lungs --out embed/film_lungs.onnx --only-measure    # what the card says, of the network that is there

Makes the virtual films (kept in build/lungs, 15 minutes), trains (25 minutes on two cores), measures on patients that were held out,
virtual and real, and writes the network and its card. Needs the extra `torch`, what `make install-all` installs, and the Hannover films.
"""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch

from examples.demo.anatomy import load_anatomy
from examples.lungs.films import Films, make_films
from examples.lungs.measure import measure
from examples.lungs.network import HEADS, SIDE, Exported, LungNet, parameter_count
from examples.lungs.real_films import read_real_films
from examples.lungs.training import Material, gather, train

HANNOVER = Path(__file__).parents[2].with_name("shared") / "data" / "hannover"


@click.command(help=__doc__)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="the ONNX file; its card gets the suffix .json"
)
@click.option("--hannover", type=click.Path(path_type=Path, exists=True), default=HANNOVER, show_default=True)
@click.option("--cache", type=click.Path(path_type=Path), default=Path("build/lungs"), show_default=True)
@click.option("--patients", default=1200, show_default=True, help="virtual patients, of whom every tenth is held out")
@click.option("--steps", default=3000, show_default=True)
@click.option("--seed", default=20, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option(
    "--only-measure", is_flag=True, help="train nothing: measure OUT as it is, and write its card's figures again"
)
def main(
    out: Path, hannover: Path, cache: Path, patients: int, steps: int, seed: int, threads: int, only_measure: bool
) -> None:
    torch.set_num_threads(threads)
    cv2.setNumThreads(1)
    virtual = virtual_films(cache, patients, seed=seed, workers=threads)
    real = read_real_films(hannover)
    held_out = virtual.patients % 10 == 0
    if only_measure:
        card = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    else:
        card = train_and_export(gather(virtual.only(~held_out), real), out, steps=steps, seed=seed)
        card["training"]["virtual_patients"] = patients
    out.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")  # which the finder checks
    card["measured"] = measure(out, virtual.only(held_out), [film for film in real if film.held_out])
    out.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(card, indent=1))


def train_and_export(material: Material, out: Path, *, steps: int, seed: int) -> dict[str, Any]:
    """The card of the network that was written to `out`, without its figures."""
    losses: list[float] = []
    started = time.monotonic()

    def progress(loss: float) -> None:
        losses.append(loss)
        if len(losses) % 50 == 0:
            left = (time.monotonic() - started) / len(losses) * (steps - len(losses))
            click.echo(
                f"step {len(losses)} of {steps}, loss {np.mean(losses[-50:]):.3f}, {left / 60:.0f} min left", err=True
            )

    net = train(material, steps=steps, seed=seed, progress=progress)
    export(net, out)
    return {
        "name": "lung finder for frontal radiographs",
        "sha256": hashlib.sha256(out.read_bytes()).hexdigest(),
        "parameters": parameter_count(net),
        "training": {
            "seed": seed,
            "steps": steps,
            "minutes": round((time.monotonic() - started) / 60),
        },
    }


def virtual_films(cache: Path, patients: int, *, seed: int, workers: int) -> Films:
    """The virtual films of `cache`, made first where they are not there."""
    path = cache / f"films-{patients}-{seed}.npz"
    if not path.exists():
        made = 0

        def progress() -> None:
            nonlocal made
            made += 1
            if made % 50 == 0:
                click.echo(f"films of {made} of {patients} virtual patients made", err=True)

        films = make_films(load_anatomy(), range(patients), seed=seed, workers=workers, progress=progress)
        cache.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **vars(films))
    with np.load(path, allow_pickle=False) as stored:
        return Films(**dict(stored))


def export(net: LungNet, out: Path) -> None:
    """Write the network as ONNX: (n, 1, side, side) -> lungs, and a probability a head."""
    torch.onnx.export(
        Exported(net).eval(),
        (torch.zeros(1, 1, SIDE, SIDE),),
        str(out),
        dynamo=False,
        input_names=["picture"],
        output_names=["lungs", *HEADS],
        dynamic_axes={name: {0: "n"} for name in ("picture", "lungs", *HEADS)},
        opset_version=17,
    )


if __name__ == "__main__":
    main()
