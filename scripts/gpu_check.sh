#!/usr/bin/env bash
# On a machine with a GPU: every CUDA test against FP64, the same under compute-sanitizer, then the timings of docs/performance.md.
#
#   scripts/gpu_check.sh BUILD [tests|sanitizer|times]…
#
# BUILD is a build folder with STROBE_BUILD_BENCHMARKS=ON; it may have been carried from the machine that built it. Whole logs go to
# $OUT (default: gpu-check below the current folder); what is printed is a line per program, and the tables.
set -uo pipefail
build=$1
shift
parts=${*:-tests sanitizer times}
out=${OUT:-gpu-check}
mkdir -p "$out"
export STROBE_CACHE_DIR=${STROBE_CACHE_DIR:-$out/cache}
failed=0

# logged NAME COMMAND…: the log goes to $out/NAME.log; the line printed says how it ended.
logged() {
  local name=$1 started=$SECONDS status=0
  shift
  timeout 180 "$@" >"$out/$name.log" 2>&1 || status=$?
  printf '%-34s status %d, %3d s: %s\n' "$name" "$status" $((SECONDS - started)) "$(grep -E 'PASSED|tests ran|ERROR SUMMARY|RACECHECK SUMMARY' "$out/$name.log" | tail -1)"
  [[ $status -eq 0 ]] || { failed=1; grep -E '^\[  FAILED|Failure$|=========' "$out/$name.log" | head -12; }
}

# All that need a GPU; cuda_device_test first.
tests=("$build/tests/cuda_device_test")
for test in "$build"/tests/cuda_*_test; do
  [[ $test =~ cuda_(device|compile|driver|missing_driver|host)_test$ ]] || tests+=("$test")
done
if [[ " $parts " == *" tests "* ]]; then
  for test in "${tests[@]}"; do logged "$(basename "$test")" "$test"; done
fi
if [[ " $parts " == *" sanitizer "* ]]; then
  for tool in memcheck racecheck; do
    for test in "${tests[@]:1}"; do  # without the one that makes a GPU fault on purpose
      logged "$tool.$(basename "$test")" compute-sanitizer --tool "$tool" --error-exitcode 9 "$test" --gtest_filter='-*Slow*:*TheRecordOfACall*' &
    done
    wait
  done
fi
if [[ " $parts " == *" times "* ]]; then
  "$build/benchmarks/host_overhead" --benchmark_filter=gpu 2>&1 | tee "$out/host_overhead.log" | grep gpu
  "$build/benchmarks/cuda_memory_ops" 2>&1 | tee "$out/cuda_memory_ops.log"
fi
exit $failed
