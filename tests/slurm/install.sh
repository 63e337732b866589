#!/bin/sh
# Installs Debian's Slurm and munge for the tests, which start their own daemons: none of the
# packages' services is started now, or will be when the machine starts.
set -eu
PATH="$PATH:/usr/sbin:/sbin"

if command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v munged >/dev/null; then
	exit 0
fi
if ! command -v apt-get >/dev/null; then
	echo "Install slurmctld, slurmd, Slurm's commands and munge first: there is no apt-get here" >&2
	exit 1
fi

as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Debian asks this file whether an installed service may be started; 101 is no.
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
as_root env DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes slurm-wlm munge

for service in slurmctld slurmd munge; do
	as_root update-rc.d "$service" disable
	if command -v systemctl >/dev/null; then as_root systemctl disable "$service"; fi
done
