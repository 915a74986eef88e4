#!/usr/bin/env bash
# Installs what is missing: the Debian packages of the lists named as arguments, then the pinned dependencies. Says and does
# nothing where all is there.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

missing=()
for package in $(cat "$@" | grep -v '^#'); do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
# Debian's npm does not go with a Node.js from elsewhere, which brings its own.
command -v npm >/dev/null || missing+=(npm)

if [ ${#missing[@]} -gt 0 ]; then
  as_root=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "setup: as root, run: apt-get install ${missing[*]}" >&2; exit 1; }
    as_root=(sudo)
  fi
  apt_install() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2; }
  echo "setup: installing ${missing[*]}" >&2
  "${as_root[@]}" apt-get update -qq
  if [[ " ${missing[*]} " == *" postgresql-15 "* ]]; then
    # The package would create and start a server of its own, which nobody here uses.
    apt_install postgresql-common
    "${as_root[@]}" sed -i -E 's/^#?\s*create_main_cluster\s*=.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
  fi
  # Packages of servers would start one each, which nobody here uses either.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e $policy ]; then
    trap '"${as_root[@]}" rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" install -m 755 /dev/stdin $policy
  fi
  apt_install "${missing[@]}"
fi

python3 "$root/scripts/deps.py"
