#!/usr/bin/env bash
# lint.sh: formatting and house rules of the tracked files. Prints every finding; exits with 1 when there is one.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0
# report TITLE FINDINGS
report() {
  [[ -n $2 ]] || return 0
  printf '%s\n%s\n\n' "$1" "$2"
  failed=1
}

mapfile -t sources < <(git ls-files '*.cc' '*.h' '*.cuh')

echo "clang-format over ${#sources[@]} files"
unformatted=$(for file in "${sources[@]}"; do
  clang-format "$file" | cmp --silent - "$file" || echo "$file"  # --dry-run complains of nested inline namespaces as they should be
done)
report "Not formatted (make format does it):" "$unformatted"

report "Paths of a machine in sources:" \
  "$(git grep -nE '["( ](/home|/root|/work|/tmp|/opt|/Users|/mnt)/' -- src include kernels examples || true)"
report "TODO and its kin (open an issue instead):" \
  "$(git grep -nwE 'TODO|FIXME|XXX|HACK' -- src include kernels tests examples cmake || true)"
report "Tabs or spaces at the end of a line:" \
  "$(git grep -nIE "$(printf '[ \t]+$|^[^#]*\t')" -- src include tests/*.cc cmake CMakeLists.txt '*.md' || true)"

for file in "${sources[@]}"; do
  lines=$(wc -l <"$file")
  [[ $lines -le 600 ]] || echo "warning: $file has $lines lines; split it by subject"
done

[[ $failed -eq 0 ]] && echo "lint: clean"
exit $failed
