#!/bin/sh
# Installs redis-server, which the tests of the Redis store start for themselves. On Debian and its kin, as root.
set -eu
if command -v redis-server >/dev/null 2>&1; then
  echo 'redis-server is here.'
  exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
  echo 'There is no apt-get here: install redis-server yourself, so that it is on the PATH.' >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  echo 'Installing redis-server needs root: run this script with sudo.' >&2
  exit 1
fi
# The package would run a server on port 6379, now and after every start of the machine. The tests only need the program.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 1' HUP INT TERM
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi
echo 'Installing redis-server with apt-get ...'
export DEBIAN_FRONTEND=noninteractive
apt-get -o Acquire::Retries=3 -qq update
apt-get -o Acquire::Retries=3 -qq install --yes --no-install-recommends redis-server >/dev/null
if command -v systemctl >/dev/null 2>&1; then
  systemctl --quiet disable redis-server >/dev/null 2>&1 || echo 'Its service could not be disabled: it starts with the machine.' >&2
fi
command -v redis-server >/dev/null || { echo 'redis-server was installed and is not on the PATH.' >&2; exit 1; }
echo 'Installed redis-server. Its service is off.'
