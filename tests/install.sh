#!/bin/sh
# Installs what some tests need beside Python, where it is missing, from Debian's packages:
# `sh tests/install.sh browser` Chromium, `sh tests/install.sh slurm` Slurm and munge.
set -eu
PATH="$PATH:/usr/sbin:/sbin"

case "${1-}" in
browser)
	commands="chromium"
	packages="--no-install-recommends chromium fonts-liberation"
	;;
slurm)
	commands="slurmctld slurmd munged"
	packages="slurm-wlm munge"
	;;
*)
	echo "usage: sh tests/install.sh browser|slurm" >&2
	exit 2
	;;
esac

missing=""
for command in $commands; do
	command -v "$command" >/dev/null || missing="$missing $command"
done
if [ -z "$missing" ]; then exit 0; fi
if ! command -v apt-get >/dev/null; then
	echo "Install$missing first, on the PATH: there is no apt-get here" >&2
	exit 1
fi

as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# The tests start daemons of their own: none of the packages' services is started now. Debian asks
# this file whether an installed service may be started; 101 is no.
policy=/usr/sbin/policy-rc.d
put_back() {
	as_root rm -f "$policy"
	if [ -e "$policy.before" ]; then as_root mv "$policy.before" "$policy"; fi
}
trap put_back EXIT
trap 'exit 130' INT TERM
if [ -e "$policy" ]; then as_root mv "$policy" "$policy.before"; fi
printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
as_root chmod 755 "$policy"

as_root apt-get update --quiet
# shellcheck disable=SC2086
as_root env DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes $packages

# Nor will they be when the machine starts.
if [ "$1" = slurm ]; then
	for service in slurmctld slurmd munge; do
		as_root update-rc.d "$service" disable
		if command -v systemctl >/dev/null; then as_root systemctl disable "$service"; fi
	done
fi
