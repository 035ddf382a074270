#!/bin/sh
# pkg_config.sh COMPILER PREFIX LIBDIR SOURCE: builds and runs SOURCE with nothing but the compiler and pkg-config, shared and static.
set -eu
compiler=$1 prefix=$2 libdir=$3 source=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PKG_CONFIG_PATH="$prefix/$libdir/pkgconfig"

# shellcheck disable=SC2046  # the flags are separate words
"$compiler" -std=c++20 "$source" $(pkg-config --cflags --libs strobe) -o "$work/shared"
LD_LIBRARY_PATH="$(pkg-config --variable=libdir strobe)" "$work/shared"

# shellcheck disable=SC2046
"$compiler" -std=c++20 "$source" $(pkg-config --cflags strobe) \
  "$(pkg-config --variable=libdir strobe)/libstrobe.a" -pthread -o "$work/static"
"$work/static" "$prefix/bin/strobe"
