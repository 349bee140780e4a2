#!/bin/sh
# Installs what the end-to-end tests run besides Node: Chromium, curl, Python 3. On Debian and its kin, as root.
set -eu
. "$(dirname "$0")/apt.sh"
missing=''
for program in chromium curl python3; do
  command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
done
if [ -z "$missing" ]; then
  echo 'Chromium, curl and Python 3 are here.'
  exit 0
fi
# One word each: package and program have the same name.
# shellcheck disable=SC2086
apt_install $missing
# shellcheck disable=SC2086
on_path $missing
echo "Installed$missing."
