#!/bin/sh
# exports.sh LIBRARY HEADER STROBE: the shared library shows its own interface, in the inline namespace of its version, and, as
# templates of the standard library are always visible, those; nothing of the libraries that it is built with. Its C functions are those of HEADER, and those in tvm-ffi's convention
# are its own and one for each operator that the command STROBE documents without a plan. It needs nothing but libc and the compiler's.
set -eu
library=$1 header=$2 strobe=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
nm --dynamic --defined-only "$library" | cut -d' ' -f3 | sort >"$work/all"

status=0
# expect TITLE TEXT: nothing is expected
expect() {
  [ -z "$2" ] || { printf '%s:\n%s\n' "$1" "$2"; status=1; }
}

expect "exported, but not Strobe's" "$(grep -v '^strobe_\|^__tvm_ffi_' "$work/all" | c++filt |
  grep -vE '^((non-virtual thunk to|(typeinfo|typeinfo name|vtable|VTT|guard variable) for) )?(strobe::v1|std)::' |
  grep -vE '^[^(]* (strobe::v1|std)::' || true)"

grep '^strobe_' "$work/all" >"$work/c"
sed -n 's/^STROBE_API .*[ *]\(strobe_[a-z_]*\)(.*/\1/p' "$header" | sort >"$work/c_declared"
expect "C functions exported and declared differ" "$(diff "$work/c" "$work/c_declared" || true)"

grep '^__tvm_ffi_' "$work/all" | sed 's/^__tvm_ffi_//' | grep -v '^strobe_' >"$work/tvm"
"$strobe" docs | sed -n 's/^## \([a-z0-9_]*\)$/name \1/p; s/.*::plan, .*/plan/p' |
  awk '$1 == "name" { if (name) print name; name = $2 } $1 == "plan" { name = "" } END { if (name) print name }' | sort >"$work/operators"
[ -s "$work/operators" ] || expect "no operators" "in '$strobe docs'"
expect "operators exported for tvm-ffi and declared differ" "$(diff "$work/tvm" "$work/operators" || true)"

for file in "$library" "$strobe"; do
  expect "$file needs" "$(readelf --dynamic --wide "$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
    grep -vE '^(libc|libm|libdl|libpthread|libstdc\+\+|libgcc_s|ld-linux-[a-z0-9-]+)\.so' || true)"
done
exit $status
