"""`python -m tests.parity FOLDER`: run every set in a folder, print a line per output, exit 1 on a miss.

A set is recognised by its json, never by its file name. Exit codes: 0 all outputs agree, 1 a miss, 2 no sets.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from pathlib import Path

import torch

from tests.parity.oracle import OracleSet, PhotometricLoss, compare, find_sets, read_set
from tests.parity.systems import MODULES, is_implemented, load_system


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder with pairs NAME.safetensors + NAME.json")
    parser.add_argument(
        "--system", action="append", default=[], metavar="PART", help="only systems with this in the name"
    )
    parser.add_argument("--only-misses", action="store_true", help="print no line for outputs that agree")
    parser.add_argument("--skip-unknown", action="store_true", help="a system without implementation is not a miss")
    parser.add_argument("--floor", action="store_true", help="also run in float64 and print our own float32 floor")
    parser.add_argument("--traceback", action="store_true", help="print the traceback when a system raises")
    options = parser.parse_args(arguments)

    paths = find_sets(options.folder)
    misses = outputs = sets = 0
    print(f"{'system':<11} {'set':<28} {'output':<34} {'max |diff|':>11} {'mean |diff|':>11} {'floor':>9}  verdict")
    for path in paths:
        try:
            oracle = read_set(path)
        except (ValueError, OSError) as error:
            print(f"{'?':<11} {path.stem:<28} unreadable: {error}")
            misses += 1
            continue
        if options.system and not any(part.lower() in oracle.system.lower() for part in options.system):
            continue
        sets += 1
        if not is_implemented(oracle.system):
            print(f"{'?':<11} {oracle.name:<28} no implementation of {oracle.system}")
            misses += not options.skip_unknown
            continue
        started = time.perf_counter()
        try:
            results = _run(oracle)
            ours_in_double = _differences_to_double(oracle) if options.floor else {}
        except Exception as error:  # one broken system must not hide the others
            print(f"{MODULES[oracle.system]:<11} {oracle.name:<28} raised {type(error).__name__}: {error}")
            if options.traceback:
                traceback.print_exc(file=sys.stdout)
            misses += 1
            continue
        for result in results:
            outputs += 1
            misses += not result.passed
            if options.only_misses and result.passed:
                continue
            own = ours_in_double.get(result.output)
            print(
                _line(MODULES[oracle.system], oracle.name, result)
                + (f"  ours 32/64: {own:.2e}" if own is not None else "")
            )
        print(f"{MODULES[oracle.system]:<11} {oracle.name:<28} {time.perf_counter() - started:.1f} s")
    if sets == 0:
        print(f"No sets in {options.folder}: expected pairs NAME.safetensors + NAME.json.")
        return 2
    print(f"{sets} sets, {outputs} outputs, {misses} misses")
    return 1 if misses else 0


def _run(oracle: OracleSet) -> list[PhotometricLoss]:
    system = load_system(oracle.system)
    return list(compare(oracle, system.outputs(oracle), system.not_reproduced))


def _differences_to_double(oracle: OracleSet) -> dict[str, float]:
    system = load_system(oracle.system)
    single, double = system.outputs(oracle), system.outputs(oracle.to(torch.float64))
    return {
        name.removeprefix("out/"): float((value.double() - double[name].double()).abs().nan_to_num().max())
        for name, value in single.items()
        if name in double and value.numel()
    }


def _line(system: str, set_name: str, result: PhotometricLoss) -> str:
    floor = "" if result.floor is None else f"{result.floor:.2e}"
    verdict = f"{result.verdict}: {result.reason}" if result.reason else result.verdict
    return (
        f"{system:<11} {set_name:<28} {result.output:<34} {result.max_difference:>11.3e} "
        f"{result.mean_difference:>11.3e} {floor:>9}  {verdict}"
    )


if __name__ == "__main__":
    sys.exit(main())
