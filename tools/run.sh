#!/bin/sh
# run.sh BUILD: a signer for development, on embedded defaults and a key of its own, which signs one
# attestation over its API, refuses a conflicting one, and goes on serving in the foreground.
#   RUN_DIR             where it lives (BUILD/dev)
#   RUN_LISTEN          address of the API (127.0.0.1:9000)
#   RUN_METRICS_LISTEN  address of the metrics (127.0.0.1:3000)
set -eu
cd "$(dirname "$0")/.."
build=$1
dir=${RUN_DIR:-$build/dev}
listen=${RUN_LISTEN:-127.0.0.1:9000}
metrics=${RUN_METRICS_LISTEN:-127.0.0.1:3000}

umask 077
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
if [ ! -d "$dir/keystores" ]; then
    echo "run: making a development key in $dir (never use it on a network that counts)"
    od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$dir/password"
    rm -rf "$dir/keystores.new" "$dir/mnemonic"
    # pbkdf2 opens in a tenth of the time that scrypt takes.
    "$build/holdfast" key new --keystore-dir "$dir/keystores.new" --password-file "$dir/password" \
        --mnemonic-output "$dir/mnemonic" --kdf pbkdf2
    mv "$dir/keystores.new" "$dir/keystores"
fi

"$build/holdfast" serve --data-dir "$dir/data" --network mainnet \
    --keystore-dir "$dir/keystores" --password-file "$dir/password" \
    --listen "$listen" --metrics-listen "$metrics" &
signer=$!
trap 'kill -TERM $signer 2>/dev/null || true' INT TERM HUP

if ! python3 tools/run_demo.py "$listen" "$signer"; then
    kill -TERM "$signer" 2>/dev/null || true
    wait "$signer" || true
    exit 1
fi

# A signal interrupts wait; the signer's own end is what counts.
status=0
while kill -0 "$signer" 2>/dev/null; do
    status=0
    wait "$signer" || status=$?
done
exit "$status"
