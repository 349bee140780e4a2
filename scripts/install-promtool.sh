#!/bin/sh
# Installs promtool, which checks the metrics in a test. On Debian and its kin, as root.
set -eu
. "$(dirname "$0")/apt.sh"
if command -v promtool >/dev/null 2>&1; then
  echo 'promtool is here.'
  exit 0
fi
apt_install prometheus
not_at_boot prometheus
on_path promtool
echo 'Installed promtool. The service of its package is off.'
