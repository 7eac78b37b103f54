#!/bin/sh
# fuzz.sh: each fuzzer for HF_FUZZ_SECONDS from its kept corpus, in turns. What it finds new stays in
# build-fuzz/corpus/NAME; a crash is written to build-fuzz/ and ends the run.
set -eu
cd "$(dirname "$0")/.."
tools/setup.sh --tools test
seconds=${HF_FUZZ_SECONDS:-120}
build="build-fuzz"

[ -f "$build/build.ninja" ] || CC=clang meson setup "$build" -Dfuzzers=true \
    -Db_sanitize=address,undefined -Db_lundef=false -Dbuildtype=debugoptimized >/dev/null
ninja -C "$build"

for target in "$build"/fuzz/fuzz_*; do
    if [ ! -f "$target" ] || [ ! -x "$target" ]; then
        continue
    fi
    name=${target##*/fuzz_}
    found="$build/corpus/$name"
    mkdir -p "$found"
    echo "fuzz: $name for $seconds seconds"
    # The kept corpus comes second: it is read, and new inputs go to the first folder.
    "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$build/$name-" "$found" "fuzz/corpus/$name"
done
