"""Runs the test programs that `cargo test --no-run --message-format=json` names: three at a time, then those of lab/e2e alone."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Packages whose tests take longest. Without them in front, one would run on while cores idle.
LONGEST = ["simulation", "nats", "reader", "bridge", "wasm"]


def programs():
    """Folder of the package, source and executable of each, beginning with the longest ones."""
    built = [json.loads(line) for line in sys.stdin if line.startswith("{")]
    tests = [unit for unit in built if unit.get("executable") and unit["profile"]["test"]]
    rank = {name: number for number, name in enumerate(LONGEST)}
    for unit in sorted(tests, key=lambda unit: rank.get(Path(unit["manifest_path"]).parent.name, len(rank))):
        folder = Path(unit["manifest_path"]).parent
        yield folder, Path(unit["target"]["src_path"]).relative_to(folder), unit["executable"]


def run(program, **output):
    """The name of the program if it fails. Output that is caught is printed in one piece."""
    folder, source, executable = program
    title = f"     Running {source} of {folder.relative_to(Path.cwd())}"
    if not output:
        print(title, flush=True)
    done = subprocess.run([executable], cwd=folder, **output)
    if output:
        print(title, done.stdout.decode(errors="replace"), sep="\n", flush=True)
    return None if done.returncode == 0 else f"{source} of {folder.name}"


def main():
    every = list(programs())
    if not every:
        sys.exit("cargo named no test programs")
    alone = [program for program in every if program[0].name == "e2e"]
    beside = [program for program in every if program not in alone]
    with ThreadPoolExecutor(3) as pool:
        caught = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        failed = list(pool.map(lambda program: run(program, **caught), beside))
    failed += [run(program) for program in alone]
    failed = [name for name in failed if name]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
