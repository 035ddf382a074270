#!/bin/sh
# c_client.sh COMPILER PREFIX LIBDIR: builds c_client.c as C with the installed header and library, and runs it.
set -eu
compiler=$1 prefix=$2 libdir=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$compiler" -x c -std=c11 -Wall -Wextra -Werror -pedantic -I"$prefix/include" "$(dirname "$0")/c_client.c" -x none \
  -L"$prefix/$libdir" -lstrobe -lm -o "$work/c_client"
LD_LIBRARY_PATH="$prefix/$libdir" "$work/c_client"
