#!/bin/sh
# run.sh VENV SITE [PYTEST OPTION…]: the package's tests with the package in SITE, in the environment VENV, which is made when it is not
# there. Exits with 77 (skipped) when what the tests need cannot be installed.
set -eu
venv=$1 site=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
install() { "$venv/bin/pip" install --quiet --disable-pip-version-check --retries 1 --timeout 20 "$@"; }

if ! "$venv/bin/python" -c 'import ml_dtypes, numpy, pytest, tvm_ffi' 2>/dev/null; then
  python3 -m venv "$venv"
  if ! install numpy pytest ml_dtypes apache-tvm-ffi; then
    echo 'skipped: pip found no index to install numpy, pytest, ml_dtypes and apache-tvm-ffi from'
    exit 77
  fi
  install jax || echo 'jax could not be installed: its tests are skipped'
fi
export PYTHONPATH="$site" JAX_PLATFORMS=cpu PYTHONDONTWRITEBYTECODE=1
cd "$here"
"$venv/bin/python" -m pytest -q -p no:cacheprovider -rs --doctest-modules --ignore="$site/strobe/torch.py" \
  --ignore="$site/strobe/compat/alias" "$@" "$here" "$site/strobe"
