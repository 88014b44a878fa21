"""Command `train`: the recipes of the models, and the experiments."""

from __future__ import annotations

import importlib

import typer

from addon.wire.errors import InvalidRequest

from ..generators import recipes
from ..training.experiments import EXPERIMENTS


def add_to(cli: typer.Typer) -> None:
    """Add the command to the command line."""
    settings = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    cli.command(context_settings=settings)(train)


def train(context: typer.Context) -> None:
    """Train a model, or run an experiment: train NAME [OPTIONS]. `train NAME --help` lists the options."""
    name, arguments = (context.args[0], context.args[1:]) if context.args else ("", [])
    known = recipes()
    if name in EXPERIMENTS:
        importlib.import_module(f"backend.training.experiments.{EXPERIMENTS[name]}").main(arguments)
    elif name in known:
        known[name](arguments)
    else:
        names = ", ".join(sorted({*known, *EXPERIMENTS}))
        raise InvalidRequest(f"Give the name of a recipe or an experiment: {names}.")
