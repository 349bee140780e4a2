#!/bin/sh
# Installs what the end-to-end tests run besides Node: Chromium, curl, Python 3. On Debian and its kin, as root.
set -eu
missing=''
for program in chromium curl python3; do
  command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
done
if [ -z "$missing" ]; then
  echo 'Chromium, curl and Python 3 are here.'
  exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
  echo "There is no apt-get here: install$missing yourself, so that they are on the PATH." >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "Installing$missing needs root: run this script with sudo." >&2
  exit 1
fi
echo "Installing$missing with apt-get ..."
export DEBIAN_FRONTEND=noninteractive
apt-get -o Acquire::Retries=3 -qq update
# One word each: package and program have the same name.
# shellcheck disable=SC2086
apt-get -o Acquire::Retries=3 -qq install --yes --no-install-recommends $missing >/dev/null
for program in $missing; do
  command -v "$program" >/dev/null || { echo "$program was installed and is not on the PATH." >&2; exit 1; }
done
echo "Installed$missing."
