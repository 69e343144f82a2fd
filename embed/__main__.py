"""`python -m embed`: which encoders there are, and how to export one."""

from pathlib import Path

import click

from embed.encoder import DEFAULT_ENCODER, ENCODERS, EncoderError, load_encoder


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


@main.command("export")
@click.argument("name")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The .onnx file to write; its card goes beside it.",
)
@click.option(
    "--side", type=click.IntRange(32, 2048), default=448, show_default=True, help="Pixels of the square input."
)
@click.option(
    "--grid", type=click.IntRange(1, 16), default=2, show_default=True, help="Cells a side that are averaged."
)
def export_network(name: str, out: Path, side: int, grid: int) -> None:
    """Write the network NAME as ONNX. Needs the extra `torch`.

    Example: python -m embed export efficientnet-lite0 --out /tmp/lite0.onnx
    """
    from embed.export import export

    try:
        export(name, out, side=side, grid=grid)
    except EncoderError as error:
        raise click.UsageError(str(error)) from error
    click.echo(f"wrote {out} and {out.with_suffix('.json')}", err=True)


if __name__ == "__main__":
    main(prog_name="python -m embed")
