#!/bin/sh
# Installs the servers that the benchmark compares with and that Debian packages. On Debian and its kin, as root. The benchmark runs
# each with settings of its own: none is left running that was not before.
set -eu
. "$(dirname "$0")/apt.sh"
missing=''
services=''
for package in nginx-light libnginx-mod-nchan nats-server mosquitto icecast2; do
  service=$package
  case "$package" in
    nginx-light) file=/usr/sbin/nginx service=nginx ;;
    libnginx-mod-nchan) file=/usr/lib/nginx/modules/ngx_nchan_module.so service='' ;;
    icecast2) file=/usr/bin/icecast2 ;;
    *) file="/usr/sbin/$package" ;;
  esac
  [ -e "$file" ] && continue
  missing="$missing $package"
  services="$services $service"
done
if [ -z "$missing" ]; then
  echo 'nginx with Nchan, NATS, mosquitto and Icecast are here.'
  exit 0
fi
# One word each.
# shellcheck disable=SC2086
apt_install $missing
# shellcheck disable=SC2086
not_at_boot $services
echo "Installed$missing."
