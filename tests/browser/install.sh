#!/bin/sh
# Installs Debian's Chromium for the tests of the report, where there is none.
set -eu

if command -v chromium >/dev/null; then
	exit 0
fi
if ! command -v apt-get >/dev/null; then
	echo "Install Chromium first, as \`chromium\` on the PATH: there is no apt-get here" >&2
	exit 1
fi

as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

as_root apt-get update --quiet
as_root env DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes \
	--no-install-recommends chromium fonts-liberation
