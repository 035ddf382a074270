#!/usr/bin/env bash
# install_packages.sh PACKAGE…: installs the Debian packages that are missing, as root or with sudo; says which. Does nothing, and does
# not touch apt, when all are there.
set -euo pipefail

if ! command -v dpkg-query >/dev/null; then
  echo "This is no Debian system, so packages are not installed here. Needed (Debian's names): $*"
  exit 0
fi

missing=()
for package in "$@"; do
  status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

as_root=()
if [[ $(id -u) -ne 0 ]]; then
  if ! command -v sudo >/dev/null; then
    echo "Missing Debian packages: ${missing[*]}. Install them as root: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

echo "Installing missing Debian packages: ${missing[*]}"
apt_get() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get --quiet=2 "$@" </dev/null >/dev/null; }
install() { apt_get install --yes --no-install-recommends "${missing[@]}"; }
# Package lists may be absent (fresh images) or too old to download from; both show in a failing first attempt.
if ! install 2>/dev/null; then
  echo "Updating apt's package lists"
  apt_get update
  install
fi
