#!/bin/sh
# exports.sh LIBRARY: the shared library shows its own interface and, as templates of the standard library are always visible, those;
# nothing of the libraries that it is built with.
set -eu
foreign=$(nm --dynamic --demangle --defined-only "$1" | cut -d' ' -f3- |
  grep -vE '^((non-virtual thunk to|(typeinfo|typeinfo name|vtable|VTT|guard variable) for) )?(strobe|std)::' |
  grep -vE '^[^(]* (strobe|std)::' || true)
[ -z "$foreign" ] && exit 0
printf 'exported, but not Strobe'"'"'s:\n%s\n' "$foreign"
exit 1
