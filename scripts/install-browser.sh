#!/bin/sh
# Installs what the browser tests need: Chromium, from Debian's packages. Needs root.
set -eu
if command -v chromium >/dev/null 2>&1; then
  echo "chromium is installed: $(command -v chromium)"
  exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
  echo "There is no apt-get here: install Chromium yourself so that 'chromium' is on the PATH." >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends chromium curl python3 >/dev/null
echo "chromium is installed: $(command -v chromium)"
