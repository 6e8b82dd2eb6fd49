"""The cost of a step that has nothing to do: `python -m benchmarks.step_costs`, in a checkout where `dvc repro` has run.

Each step runs twice in a process of its own. Both runs do the same work, but only the first imports modules. The difference is
the cost of the imports, in CPU seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys

import click

from ratchet.project.steps import STEPS

PARTS = ("great_expectations", "feast", "mlflow", "sklearn", "lightgbm", "evidently")
"""Libraries that take long to import."""
TWICE = """
import json, sys, time
began = time.process_time()
from ratchet.project.run import Run
from ratchet.project.steps import STEPS
run, times = Run.load(use_case=sys.argv[2] or None), [began]
for _ in range(2):
    STEPS[sys.argv[1]].load()(run)
    times.append(time.process_time())
print()
print(json.dumps({"times": times, "imported": [name for name in sys.argv[3:] if name in sys.modules]}))
"""


@click.command()
@click.option("--use-case", default="", help="A section of params.yaml, instead of the one that it selects.")
def main(use_case: str) -> None:
    """Print a table in Markdown."""
    click.echo("| step | imports | work | imported |\n| --- | --- | --- | --- |")
    for name in STEPS:
        command = [sys.executable, "-c", TWICE, name, use_case, *PARTS]
        done = subprocess.run(command, capture_output=True, check=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        began, first, second = found["times"]
        imports = max(0.0, (first - began) - (second - first))
        click.echo(f"| {name} | {imports:.1f} | {second - first:.1f} | {', '.join(found['imported'])} |")


if __name__ == "__main__":
    main()
