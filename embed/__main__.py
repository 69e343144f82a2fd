"""`python -m embed`: what a file is and what is done to it, which encoders there are, and how to export one."""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from embed.encoder import DEFAULT_ENCODER, ENCODERS, EncoderError, load_encoder
from embed.inspection import (
    Inspection,
    InspectRequest,
    draw_inspection,
    inspect_request,
    inspection_json,
    write_picture,
)
from embed.sandbox import IsolatedWorkers
from embed.scan import ScanError

SEVERAL = ("several-scans", "no-scan")  # refusals of a folder that is not one scan


@click.group()
def main() -> None:
    """Scans and the encoders that sign them."""


@main.command("encoders")
def list_encoders() -> None:
    """The encoders that `--encoder` takes."""
    for name in ENCODERS:
        if name == "onnx":
            click.echo("onnx:PATH            your own network, with a JSON of the same name beside it")
            continue
        encoder = load_encoder(name)
        mark = " (default)" if name == DEFAULT_ENCODER else ""
        click.echo(f"{name:20} {encoder.dim} dimensions, {encoder.side} px, {encoder.fingerprint}{mark}")


@main.command("inspect", epilog="Example: python -m embed inspect film.dcm ct_study/ --picture seen.png")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--side", type=click.IntRange(16, 4096), default=640, show_default=True, help="Pixels of the shorter side."
)
@click.option(
    "--picture",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a PNG: stored pixels, the film with its lungs and the crop, what the encoder sees.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout: a list, an entry a file.")
def inspect_files(paths: tuple[Path, ...], side: int, picture: Path | None, as_json: bool) -> None:
    """What each of PATHS is (a file, or a folder or zip that is one scan), every step applied, flags and refusals.

    A folder of several radiographs is taken file by file. Exits with 2 if anything was refused.
    """
    with IsolatedWorkers(inspect_request, workers=min(len(paths), os.cpu_count() or 1)) as workers:
        outcomes = list(_inspect(paths, side, workers, pictured=picture is not None))
    if as_json:
        click.echo(json.dumps([inspection_json(path, outcome) for path, outcome in outcomes]))
    else:
        for path, outcome in outcomes:
            _print_inspection(path, outcome)
    read = [outcome for _, outcome in outcomes if isinstance(outcome, Inspection)]
    if picture is not None and read:
        try:
            write_picture(draw_inspection(read), picture)
        except OSError as error:
            click.echo(f"Error: --picture {picture}: cannot be written ({error.strerror})", err=True)
            sys.exit(2)
        click.echo(f"wrote {picture}", err=True)
    if len(read) < len(outcomes):
        sys.exit(2)


def _inspect(
    paths: Iterable[Path], side: int, workers: IsolatedWorkers[InspectRequest, Inspection], *, pictured: bool
) -> Iterator[tuple[Path, Inspection | ScanError]]:
    """Each path with its scan or refusal; a folder of several radiographs gives each of its files."""
    paths = list(paths)
    for path, outcome in zip(paths, workers.map(InspectRequest(path, side, pictured) for path in paths), strict=True):
        if isinstance(outcome, ScanError) and outcome.reason in SEVERAL and path.is_dir():
            yield from _inspect(_files_below(path), side, workers, pictured=pictured)
        else:
            yield path, outcome


def _files_below(folder: Path) -> list[Path]:
    """Its files, sorted; hidden ones and links are passed over, as where a folder is read as one scan."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _print_inspection(path: Path, outcome: Inspection | ScanError) -> None:
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    console.print(Text(str(path), style="bold"))
    if isinstance(outcome, ScanError):
        console.print(Text(f"  refused, {outcome.reason}: {outcome}", style="red"))
        return
    scan = outcome.scan
    slices, rows, columns = scan.pixels.shape
    spacing = f", {scan.spacing_mm[1]:.2f}×{scan.spacing_mm[2]:.2f} mm" if scan.spacing_mm else ""
    many = f"{slices} slices of " if slices > 1 else ""
    console.print(
        Text(f"  {scan.kind}, {scan.modality or scan.provenance.format}: {many}{columns}×{rows} pixels{spacing}")
    )
    for step in scan.provenance.steps:
        console.print(Text(f"  · {step}"))
    for flag in scan.provenance.flags:
        console.print(Text(f"  ! {flag.code}: {flag.message}", style="yellow"))


@main.command("export")
@click.argument("name")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The .onnx file to write; its card goes beside it.",
)
@click.option(
    "--side", type=click.IntRange(32, 2048), default=320, show_default=True, help="Pixels of the square input."
)
@click.option(
    "--grid",
    type=click.IntRange(1, 16),
    nargs=2,
    default=(3, 2),
    show_default=True,
    help="Rows and columns of cells that are averaged.",
)
@click.option(
    "--opacity", default=0.4, show_default=True, help="Weight of the zones' opacity beside the network's output."
)
def export_network(name: str, out: Path, side: int, grid: tuple[int, int], opacity: float) -> None:
    """Write the network NAME as ONNX. Needs the extra `torch`.

    Example: python -m embed export efficientnet-lite0 --out /tmp/lite0.onnx
    """
    from embed.export import export

    try:
        export(name, out, side=side, grid=grid, opacity=opacity)
    except EncoderError as error:
        raise click.UsageError(str(error)) from error
    click.echo(f"wrote {out} and {out.with_suffix('.json')}", err=True)


if __name__ == "__main__":
    main(prog_name="python -m embed")
