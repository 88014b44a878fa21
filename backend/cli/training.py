"""Command `train`: the recipes and adversarial trainings of the models, and the experiments."""

from __future__ import annotations

import importlib

import typer

from addon.wire.errors import InvalidRequest

from ..generators import Recipe, recipes, trainings
from ..training.experiments import EXPERIMENTS


def add_to(cli: typer.Typer) -> None:
    """Add the command to the command line."""
    settings = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    cli.command(context_settings=settings)(train)


def train(context: typer.Context) -> None:
    """Train a model, or run an experiment: train NAME [OPTIONS]. `train NAME --help` lists the options."""
    name, arguments = (context.args[0], context.args[1:]) if context.args else ("", [])
    known = commands()
    if name not in known:
        raise InvalidRequest(f"Give the name of a recipe or an experiment: {', '.join(known)}.")
    known[name](arguments)


def commands() -> dict[str, Recipe]:
    """Return the recipes and adversarial trainings of the models, and the experiments, by name, sorted."""

    def training(name: str) -> Recipe:
        def run(arguments: list[str]) -> None:
            from ..training.adversarial.command import recipe, run_recipe

            run_recipe(recipe(name), arguments)

        return run

    def experiment(module: str) -> Recipe:
        def run(arguments: list[str]) -> None:
            importlib.import_module(f"backend.training.experiments.{module}").main(arguments)

        return run

    found = {**recipes(), **{name: training(name) for name in trainings()}}
    return dict(sorted({**found, **{name: experiment(module) for name, module in EXPERIMENTS.items()}}.items()))
