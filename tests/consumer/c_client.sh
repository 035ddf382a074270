#!/bin/sh
# c_client.sh COMPILER PREFIX LIBDIR: builds c_client.c as C with the installed library, once with the installed header and once with
# that of the first version of this ABI (first_abi/, which stays as it is until STROBE_ABI_MAJOR changes), and runs both.
set -eu
compiler=$1 prefix=$2 libdir=$3
here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for headers in "$prefix/include" "$here/first_abi"; do
  echo "headers of $headers:"
  "$compiler" -x c -std=c11 -Wall -Wextra -Werror -pedantic -I"$headers" "$here/c_client.c" -x none \
    -L"$prefix/$libdir" -lstrobe -lm -o "$work/c_client"
  LD_LIBRARY_PATH="$prefix/$libdir" "$work/c_client"
done
