"""The command `pointnet-parts`: it only wires. Each subcommand's work stands in its own room.

What a subcommand needs is imported when it is called, so that `--help` starts without TensorFlow.
"""

from __future__ import annotations

import sys

import click

from pipeline import local_runner


class _Command(click.Group):
    """Turns errors that are meant for the user into one sentence and exit status 2."""

    def invoke(self, context: click.Context) -> object:
        from pipeline.config import ConfigError
        from preprocessing.findings import BadInput

        try:
            return super().invoke(context)
        except (ConfigError, BadInput) as error:
            click.echo(f"pointnet-parts: {error}", err=True)
            sys.exit(local_runner.CANNOT_START)


@click.group(cls=_Command)
def main() -> None:
    """PointNet part segmentation: from raw labelled point clouds to a served model."""


main.add_command(local_runner.main, "run")


@main.command("demo-data")
@click.argument("folder")
@click.option("--shapes", default=100, show_default=True, help="Shapes of each category.")
@click.option("--category", multiple=True, help="A category; again for another. Default: all five.")
@click.option("--seed", default=0, show_default=True, help="Another seed, other shapes.")
def demo_data(folder: str, shapes: int, category: tuple[str, ...], seed: int) -> None:
    """Make labelled shapes up and write them to FOLDER in the PartAnnotation layout."""
    from preprocessing.demo_shapes import make_demo_shapes

    click.echo(f"made-up shapes: {make_demo_shapes(folder, shapes, category or None, seed)}")


@main.command()
@click.argument("source")
@click.argument("output")
@click.option("--config", default="airplane", show_default=True, help="A preset or a YAML file.")
@click.option("--category", default="", help="A category of the data, or all.")
@click.argument("beam_args", nargs=-1, type=click.UNPROCESSED)
def convert(
    source: str, output: str, config: str, category: str, beam_args: tuple[str, ...]
) -> None:
    """Convert raw shapes in SOURCE (folder or zip) to TFRecords in OUTPUT.

    What follows `--` goes to Beam: its runner and that runner's options.
    """
    from pipeline.config import load_config, with_category

    settings = with_category(load_config(config), category)
    from preprocessing.convert import convert as convert_shapes

    convert_shapes(source, output, settings.data, beam_args or settings.beam.args)


@main.command()
@click.argument("name", default="")
def config(name: str) -> None:
    """Print every key of the config; with NAME, that preset or YAML file, defaults filled in."""
    from pipeline.config import describe_fields, load_config, to_yaml

    click.echo(to_yaml(load_config(name)) if name else describe_fields(), nl=not name)


if __name__ == "__main__":
    main()
