"""Checks models/duty.pml with spin: that it holds, and that it fails without each of its guards.

model.py [--long]: one line a run, with the number of states; exit status 1 when one is not as it should be,
77 when spin is missing. --long takes the larger worlds, which need minutes and gigabytes.
"""

import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = os.path.join(ROOT, "models", "duty.pml")
SKIPPED = 77
SECONDS = {False: 240, True: 3600}
MEGABYTES = {False: 1500, True: 12000}

WORLDS = {
    "two Holdfast nodes": {"HOLDFASTS": 2, "PACKAGES": 0},
    "two Holdfast nodes, the database crashes": {"HOLDFASTS": 2, "PACKAGES": 0, "DATABASE_CRASHES": 1, "REQUESTS": 1},
    "Holdfast and the package, the database crashes": {"HOLDFASTS": 1, "PACKAGES": 1, "DATABASE_CRASHES": 1},
    "two Holdfast nodes and the package": {"HOLDFASTS": 2, "PACKAGES": 1, "REQUESTS": 1},
}
LONG_WORLDS = {
    "two Holdfast nodes, the database crashes": {"HOLDFASTS": 2, "PACKAGES": 0, "DATABASE_CRASHES": 1},
    "two Holdfast nodes and the package, the database crashes":
        {"HOLDFASTS": 2, "PACKAGES": 1, "DATABASE_CRASHES": 1, "REQUESTS": 1},
    "Holdfast and two package nodes, the database crashes":
        {"HOLDFASTS": 1, "PACKAGES": 2, "DATABASE_CRASHES": 1, "REQUESTS": 1},
    "two lost answers": {"HOLDFASTS": 1, "PACKAGES": 1, "DATABASE_CRASHES": 1, "LOSSES": 2},
}
# Where the model without one guard is run: small, and with all that can go wrong.
MUTANT_WORLD = {"HOLDFASTS": 1, "PACKAGES": 1, "DATABASE_CRASHES": 1}


def mutants():
    """The names that the model itself asks for."""
    with open(MODEL, encoding="utf-8") as text:
        names = re.findall(r"^#ifn?def ([A-Z_]+)$", text.read(), re.MULTILINE)
    known = {"HOLDFASTS", "PACKAGES", "REQUESTS", "LOSSES", "DATABASE_CRASHES"}
    return sorted(set(names) - known)


def tool(command, folder, seconds):
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds,
                          check=False)
    return done.returncode, done.stdout + done.stderr


def check(world, mutant, long_form):
    """(assertion held, states, what the tools said when they did not do their work)."""
    defines = [f"-D{name}={value}" for name, value in world.items()] + ([f"-D{mutant}"] if mutant else [])
    folder = tempfile.mkdtemp(prefix="holdfast-model-")
    try:
        for command in (["spin", *defines, "-a", MODEL],
                        ["gcc", "-O1", "-w", "-DSAFETY", "-DCOLLAPSE", f"-DMEMLIM={MEGABYTES[long_form]}", "-o", "pan", "pan.c"]):
            status, output = tool(command, folder, 120)
            if status != 0 or not os.path.exists(os.path.join(folder, "pan.c")):
                return False, 0, output
        # 2^22 slots of the hash table grow as needed; a search that stops short at -m counts as a failure.
        _, output = tool(["./pan", "-m200000", "-w22"], folder, SECONDS[long_form])
        errors = re.search(r"errors: (\d+)", output)
        states = re.search(r"(\d+) states, stored", output)
        short = re.search(r"max search depth too small|out of memory|reached -DMEMLIM|Search not completed", output)
        if errors is None or states is None or (short and errors.group(1) == "0"):
            return False, 0, output
        return errors.group(1) == "0", int(states.group(1)), ""
    except subprocess.TimeoutExpired as late:
        return False, 0, str(late)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(arguments):
    if shutil.which("spin") is None or shutil.which("gcc") is None:
        print("skipped: spin is not installed (apt-get install spin)")
        return SKIPPED
    long_form = "--long" in arguments
    runs = [(name, world, None) for name, world in (LONG_WORLDS if long_form else WORLDS).items()]
    runs += [] if long_form else [(f"without its guard: {name}" if not name.startswith("SEEN_") else f"reaches: {name}",
                                   MUTANT_WORLD, name) for name in mutants()]
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(1 if long_form else 2) as pool:
        results = pool.map(lambda run: check(run[1], run[2], long_form), runs)
        for (name, _, mutant), (held, states, trouble) in zip(runs, results):
            good = not trouble and held == (mutant is None)
            bad += not good
            print(f"{'ok' if good else 'BAD'}: {name}: {'holds' if held else 'fails'}, {states} states{trouble and ': '}{trouble}",
                  flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
