#!/usr/bin/env bash
# Installs Debian's PostgreSQL where it is missing, so that its tests run instead of skipping. The tests start their own
# server; none is left running here. Never fails: where nothing can be installed, it says so and the tests skip.
set -uo pipefail

note() { echo "postgres.sh: $*, so the PostgreSQL tests will be skipped" >&2; }

if compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then exit 0; fi
if ! command -v apt-get >/dev/null; then note "there is no apt-get"; exit 0; fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then note "only root can install packages"; exit 0; fi
    as_root=(sudo -n)
fi
export DEBIAN_FRONTEND=noninteractive
# the package would otherwise make a cluster and start it
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null && "${as_root[@]}" chmod +x "$policy"
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi
"${as_root[@]}" apt-get update -qq || note "apt-get update failed"
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null \
    || note "the package postgresql cannot be installed"
exit 0
