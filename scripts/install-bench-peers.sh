#!/bin/sh
# Installs the servers that the benchmark compares with and that Debian packages. On Debian and its kin, as root. The benchmark runs
# each with settings of its own: none is left running that was not before.
set -eu
missing=''
for package in nginx-light libnginx-mod-nchan nats-server mosquitto icecast2; do
  case "$package" in
    nginx-light) file=/usr/sbin/nginx ;;
    libnginx-mod-nchan) file=/usr/lib/nginx/modules/ngx_nchan_module.so ;;
    icecast2) file=/usr/bin/icecast2 ;;
    *) file="/usr/sbin/$package" ;;
  esac
  [ -e "$file" ] || missing="$missing $package"
done
if [ -z "$missing" ]; then
  echo 'nginx with Nchan, NATS, mosquitto and Icecast are here.'
  exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
  echo "There is no apt-get here, and the benchmark looks for$missing where Debian puts them." >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "Installing$missing needs root: run this script with sudo." >&2
  exit 1
fi
echo "Installing$missing with apt-get ..."
export DEBIAN_FRONTEND=noninteractive
# Debian starts a server that it installs, unless this says no. Whoever has one has reasons, and keeps it.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 1' HUP INT TERM
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi
apt-get -o Acquire::Retries=3 -qq update
# One word each.
# shellcheck disable=SC2086
apt-get -o Acquire::Retries=3 -qq install --yes --no-install-recommends $missing >/dev/null
# Nor at the next boot.
if command -v systemctl >/dev/null 2>&1; then
  for package in $missing; do
    case "$package" in
      nginx-light) systemctl disable nginx >/dev/null 2>&1 || true ;;
      libnginx-mod-nchan) ;;
      *) systemctl disable "$package" >/dev/null 2>&1 || true ;;
    esac
  done
fi
echo "Installed$missing."
