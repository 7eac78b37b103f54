#!/bin/sh
# soak.sh BUILD: the fault tests for long: kills and hangs at random moments under load, full disks,
# power cuts and a captured front. HF_SOAK_SECONDS says how long (two hours where not given), HF_SOAK_SEED
# repeats a run; each part prints its seed.
# From ten minutes on, also: all ways of putting copies of the record back, the stores against the reference model,
# HF_SOAK_REQUESTS requests each (a million in two hours), and the larger worlds of the model of duty locks.
# HF_SOAK_PARTS names parts: faults, guard, stores, model.
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

long_form_seconds=600
requests=${HF_SOAK_REQUESTS:-$((seconds * 140))}
parts=${HF_SOAK_PARTS:-faults guard stores model}

HF_BUILD="$(cd "$build" && pwd)"
export HF_BUILD PYTHONDONTWRITEBYTECODE=1
echo "soak: $seconds seconds, seed $seed"

has_part() {
    case " $parts " in *" $1 "*) return 0 ;; esac
    return 1
}

faults() {
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
}

# store NAME REQUESTS_A_ROUND COMMAND...: runs the command until so many requests were decided. Each run has a server
# of its own and a seed of its own, which it prints.
store() {
    name=$1 a_round=$2 left=$requests
    shift 2
    while [ "$left" -gt 0 ]; do
        now=$((left < 100000 ? left : 100000))
        status=0
        HF_TEST_POSTGRES_FSYNC=off HF_TEST_ITERS=$((now / a_round + 1)) "$@" || status=$?
        case $status in
            0) ;;
            77) return 0 ;;
            *) echo "soak: the model of $name failed" >&2; return 1 ;;
        esac
        left=$((left - now))
    done
    echo "soak: $name decided $requests random requests as the reference does"
}

if has_part faults; then
    faults
fi
if [ "$seconds" -lt "$long_form_seconds" ] && [ -z "${HF_SOAK_REQUESTS:-}${HF_SOAK_PARTS:-}" ]; then
    exit 0
fi
if has_part guard; then
    HF_SOAK=1 /usr/bin/python3 -m pytest -p no:cacheprovider -v tests/e2e/test_start_guard.py
fi
if has_part stores; then
    store sqlite 11 "$build/tests/property/test_protect_model"
    store postgres 11 sh tests/with-postgres.sh "$build/tests/property/test_protect_model" postgres
    store dynamodb 9 sh tests/with-dynalite.sh "$build/tests/property/test_dynamodb_model"
fi
if has_part model; then
    status=0
    /usr/bin/python3 tools/gates/model.py --long || status=$?
    [ "$status" -eq 0 ] || [ "$status" -eq 77 ]
fi
