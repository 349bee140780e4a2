#!/bin/sh
# Installs nginx, which the abuse tests start for themselves, in front of a hub. On Debian and its kin, as root.
set -eu
. "$(dirname "$0")/apt.sh"
PATH="$PATH:/usr/sbin"
if command -v nginx >/dev/null 2>&1; then
  echo 'nginx is here.'
  exit 0
fi
apt_install nginx-light
not_at_boot nginx
on_path nginx
echo 'Installed nginx. Its service is off.'
