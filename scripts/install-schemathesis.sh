#!/bin/sh
# Installs schemathesis, which a test runs against the API, into a virtual environment of this repository: .hubline/schemathesis. Needs
# Python 3.10 or newer; where its venv module is missing on Debian and its kin, this installs it, as root.
set -eu
cd "$(dirname "$0")/.."
home=.hubline/schemathesis
wanted=$(cat scripts/schemathesis.txt)
if [ -x "$home/bin/schemathesis" ] && [ "$(cat "$home/installed.txt" 2>/dev/null)" = "$wanted" ]; then
  echo 'schemathesis is here.'
  exit 0
fi
if ! python3 -c 'import ensurepip, venv' >/dev/null 2>&1; then
  . scripts/apt.sh
  apt_install python3-venv
fi
echo 'Installing schemathesis with pip ...'
python3 -m venv --clear "$home"
"$home/bin/python" -m pip install --quiet --disable-pip-version-check --requirement scripts/schemathesis.txt
# Written last: an installation that was cut off is done again.
cp scripts/schemathesis.txt "$home/installed.txt"
echo "Installed schemathesis in $home."
