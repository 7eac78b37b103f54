#!/bin/sh
# build_blst.sh SOURCE ARCHIVE WORKDIR: compiles blst's single C file and its assembly.
# -D__BLST_PORTABLE__ picks the fastest code at run time, so the binary may move between machines.
set -eu
source=$1 archive=$2 work=$3
mkdir -p "$work"
cc="${CC:-cc}"
flags="-O2 -ffunction-sections -fno-builtin -fPIC -Wall -Wextra -Werror -mno-avx -D__BLST_PORTABLE__"
case "$(uname -m)" in
    x86_64) ;;
    *) flags="-O2 -ffunction-sections -fno-builtin -fPIC -Wall -Wextra -Werror" ;;
esac
# shellcheck disable=SC2086  # a list of words
$cc $flags -c "$source/src/server.c" -o "$work/server.o"
# shellcheck disable=SC2086
$cc $flags -c "$source/build/assembly.S" -o "$work/assembly.o"
rm -f "$archive"
ar rcs "$archive" "$work/server.o" "$work/assembly.o"
