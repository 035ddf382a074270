# To be sourced: steps that all run, whatever becomes of the ones before, and their verdicts at the end.
summary=()
failed=0

# step NAME COMMAND…: runs it and keeps the verdict for the closing summary.
step() {
  local name=$1 started=$SECONDS verdict=passed
  shift
  printf '\n==== %s: %s\n' "$name" "$*"
  "$@" || { verdict="FAILED (exit status $?)"; failed=1; }
  summary+=("$(printf '%-8s %s, %d s' "$name" "$verdict" $((SECONDS - started)))")
}

# summarize WHAT: the verdicts; the status is that of them all.
summarize() {
  printf '\n==== summary\n'
  printf '%s\n' "${summary[@]}"
  if [[ $failed -ne 0 ]]; then
    echo "$1 FAILED"
  else
    echo "$1 passed"
  fi
  return $failed
}
