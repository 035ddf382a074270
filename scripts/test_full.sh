#!/usr/bin/env bash
# test_full.sh [PART…]: the parts of `make test-full`, one after the other, each the make target test-PART. A part that fails does not keep
# the others from running. How long each takes, and what it needs: HACKING.md.
set -uo pipefail
cd "$(dirname "$0")/.."
exec </dev/null
source scripts/steps.sh

known=(slow browser wheel torch aarch64 asan ubsan tsan)
parts=("$@")
[[ $# -gt 0 ]] || parts=("${known[@]}")
for part in "${parts[@]}"; do
  [[ " ${known[*]} " == *" $part "* ]] || { echo "test_full.sh: no part is called '$part'; there are: ${known[*]}" >&2; exit 2; }
done

step test make --no-print-directory test
for part in "${parts[@]}"; do
  step "$part" make --no-print-directory "test-$part"
done
summarize 'make test-full'
