# For the install scripts, which source it: packages of Debian and its kin, installed as root, without a server that starts by itself.
# shellcheck shell=sh

# apt_install PACKAGE...
apt_install() {
  if ! command -v apt-get >/dev/null 2>&1; then
    echo "There is no apt-get here: install $* yourself, where Debian would have it." >&2
    exit 1
  fi
  if [ "$(id -u)" -ne 0 ]; then
    echo "Installing $* needs root: run this script with sudo." >&2
    exit 1
  fi
  # Debian starts a server that it installs, unless this says no. Whoever has one has reasons, and keeps it.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  echo "Installing $* with apt-get ..."
  export DEBIAN_FRONTEND=noninteractive
  apt-get -o Acquire::Retries=3 -qq update
  apt-get -o Acquire::Retries=3 -qq install --yes --no-install-recommends "$@" >/dev/null
}

# not_at_boot SERVICE...: nor when the machine starts.
not_at_boot() {
  command -v systemctl >/dev/null 2>&1 || return 0
  for service in "$@"; do
    systemctl --quiet disable "$service" >/dev/null 2>&1 || true
  done
}

# on_path PROGRAM...
on_path() {
  for program in "$@"; do
    command -v "$program" >/dev/null || { echo "$program was installed and is not on the PATH." >&2; exit 1; }
  done
}
