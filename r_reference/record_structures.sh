#!/bin/sh
# Records lme4 2.x's answers for models with covariance structures, on a system whose own lme4 is
# older: makes a Debian testing in a folder (about 1 GB, as root, with debootstrap), runs
# record_structures.R in it, and writes r_reference/recorded_structures/lme4.json. The packages come
# from the mirror that this system uses. A folder that is there already is used again.
#
#   sudo sh r_reference/record_structures.sh FOLDER

set -eu

[ $# -eq 1 ] || { echo "usage: sh r_reference/record_structures.sh FOLDER" >&2; exit 2; }
folder=$1
here=$(cd "$(dirname "$0")" && pwd)
packages="r-base-core r-cran-lme4 r-cran-jsonlite libopenblas0-pthread"

# Prints the first Debian mirror of the system's own lists, of either format.
mirror() {
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources \
        2>/dev/null | sed -n -e 's/^URIs: *\([^ ]*\).*/\1/p' \
        -e 's/^deb *\(\[[^]]*\]\)* *\([^ ]*\).*/\2/p' | grep '/debian/*$' | head -n 1
}

if [ ! -x "$folder/usr/bin/apt-get" ]; then
    command -v debootstrap >/dev/null || { echo "apt-get install debootstrap first" >&2; exit 1; }
    from=$(mirror)
    [ -n "$from" ] || { echo "no Debian mirror in /etc/apt/sources.list(.d)" >&2; exit 1; }
    debootstrap --variant=minbase testing "$folder" "$from"
fi
if [ ! -x "$folder/usr/bin/Rscript" ]; then
    # a mirror that holds one day's state has lists past their date: as the system's own apt, take
    # or refuse them
    dated=true
    eval "$(apt-config shell dated Acquire::Check-Valid-Until)"
    # shellcheck disable=SC2086 # a list of packages
    chroot "$folder" sh -c "apt-get -o Acquire::Check-Valid-Until=$dated update && \
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages"
fi

work=$(mktemp -d "$folder/tmp/structures.XXXXXX")
trap 'rm -rf "$work"' EXIT
cp "$here"/record_structures.R "$here"/../data/*.csv "$here"/../data/datasets.json "$work"
inside=${work#"$folder"}
chroot "$folder" env OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
    Rscript --vanilla "$inside/record_structures.R" "$inside" "$inside/lme4.json"
mkdir -p "$here/recorded_structures"
cp "$work/lme4.json" "$here/recorded_structures/lme4.json"
