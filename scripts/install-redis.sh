#!/bin/sh
# Installs redis-server, which the tests of the Redis store start for themselves. On Debian and its kin, as root.
set -eu
. "$(dirname "$0")/apt.sh"
if command -v redis-server >/dev/null 2>&1; then
  echo 'redis-server is here.'
  exit 0
fi
apt_install redis-server
not_at_boot redis-server
on_path redis-server
echo 'Installed redis-server. Its service is off.'
