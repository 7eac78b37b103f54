#!/bin/sh
# soak.sh BUILD: the fault tests for long: kills and hangs at random moments under load, full disks,
# power cuts and a captured front. HF_SOAK_SECONDS says how long (two hours where not given), HF_SOAK_SEED
# repeats a run; each part prints its seed.
set -eu
cd "$(dirname "$0")/.."
build=${1:-build}
seconds=${HF_SOAK_SECONDS:-7200}
seed=${HF_SOAK_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
# One run of the captured front: it keeps every signature in memory.
frames_most=2000000
frames_per_second=20000
power_cut_batches_per_second=200
tools/setup.sh --tools test

HF_BUILD="$(cd "$build" && pwd)"
export HF_BUILD PYTHONDONTWRITEBYTECODE=1
echo "soak: $seconds seconds, seed $seed"
/usr/bin/python3 tests/fault/crash.py --seconds $((seconds * 5 / 10)) --seed "$seed"
/usr/bin/python3 tests/fault/full_disk.py --seconds $((seconds * 2 / 10)) --seed "$seed"
"$build/tests/fault/power_cut" $((seconds * power_cut_batches_per_second / 10)) "$seed"

frames=$((seconds * 2 * frames_per_second / 10))
while [ "$frames" -gt 0 ]; do
    now=$((frames < frames_most ? frames : frames_most))
    "$build/tests/fault/captured_front" "$build/holdfast-keeper" "$now" "$seed"
    frames=$((frames - now))
    seed=$((seed + 1))
done
