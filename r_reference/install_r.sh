#!/bin/sh
# Installs R, lme4, nlme and OpenBLAS with apt, as root or with sudo; where it cannot, it says what
# to type and exits non-zero. What is there already stays as it is, but for one thing: a Debian R
# that uses another BLAS is switched to OpenBLAS. The packages that the tests try on fits handed to
# R come too, where apt has them; without them everything but these tests works.
#
#   sh r_reference/install_r.sh

set -eu

OPENBLAS="libopenblas0-pthread"
PACKAGES="r-base-core r-cran-lme4 r-cran-nlme $OPENBLAS"
TRIED="emmeans lmerTest pbkrtest reticulate"

say() { printf '%s\n' "$*" >&2; }

# Prints what R has, one line; fails when R or one of the R packages is missing.
describe_r() {
    Rscript --vanilla -e '
        for (p in c("lme4", "nlme")) loadNamespace(p)
        blas <- extSoftVersion()[["BLAS"]]
        cat(R.version.string, "; lme4 ", packageDescription("lme4")$Version,
            "; BLAS ", if (nzchar(blas)) blas else La_library(), "\n", sep = "")' 2>/dev/null
}

# Fails when R lacks one of the packages that its arguments name.
has() { Rscript --vanilla -e 'for (p in commandArgs(TRUE)) loadNamespace(p)' "$@" >/dev/null 2>&1; }

uses_openblas() {
    case $1 in *[Oo]pen[Bb][Ll][Aa][Ss]*) return 0 ;; esac
    # flexiblas and Apple's framework choose their library themselves, and are as fast
    case $1 in *flexiblas* | *Accelerate* | *vecLib* | *mkl*) return 0 ;; esac
    return 1
}

manual() {
    say ""
    say "pymackay needs R with lme4 and nlme, and R should use OpenBLAS. Type:"
    say ""
    say "  Debian, Ubuntu   sudo apt-get update"
    say "                   sudo apt-get install --no-install-recommends $PACKAGES"
    say "  Fedora           sudo dnf install R-core R-core-devel cmake"
    say "                   Rscript -e 'chooseCRANmirror(ind = 1); install.packages(\"lme4\")'"
    say "  macOS            brew install r"
    say "                   Rscript -e 'chooseCRANmirror(ind = 1); install.packages(\"lme4\")'"
    say "  conda            conda install -c conda-forge r-base r-lme4 r-nlme 'libblas=*=*openblas'"
    say ""
    say "Then run this script again: it checks what it finds."
}

# Sets AS_ROOT to what must stand before a command to run it as root; fails when nothing does.
find_root() {
    AS_ROOT=""
    [ "$(id -u)" -eq 0 ] && return 0
    command -v sudo >/dev/null 2>&1 || return 1
    # a terminal may be asked for the password, a script may not
    if [ -t 0 ]; then AS_ROOT="sudo"; else AS_ROOT="sudo -n"; fi
    $AS_ROOT true 2>/dev/null
}

# Installs the packages named by its arguments; apt-get's own words only where it fails.
apt_install() {
    say "Installing $* (about a minute)"
    words=$(mktemp)
    if $AS_ROOT apt-get update -qq >"$words" 2>&1 &&
        $AS_ROOT env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "$@" >"$words" 2>&1; then
        rm -f "$words"
    else
        cat "$words" >&2
        rm -f "$words"
        return 1
    fi
}

# Debian prefers OpenBLAS once it is installed, unless somebody has chosen another by hand.
prefer_openblas() {
    for link in libblas.so.3 liblapack.so.3; do
        for name in $(update-alternatives --get-selections | awk '{print $1}' | grep "^$link-"); do
            library=$(update-alternatives --list "$name" | grep openblas-pthread | head -n 1)
            [ -z "$library" ] || $AS_ROOT update-alternatives --set "$name" "$library" >&2
        done
    done
}

stop() {
    say "$*"
    manual
    exit 1
}

install_r() {
    command -v apt-get >/dev/null 2>&1 || stop "This system has no apt-get to install R with."
    find_root || stop "Installing R needs root, and sudo does not work here without a password."
    # shellcheck disable=SC2086  # the list is meant to be split
    apt_install $PACKAGES || stop "apt-get could not install R; its own message stands above."
    found=$(describe_r) || stop "$(command -v Rscript) does not load the packages that apt-get" \
        "installed: another R stands before /usr/bin in PATH. Move it, or install them into it:"
}

# reticulate loads Python's shared library, which Debian's own Python does without.
python_library() {
    [ "$(command -v python3)" = /usr/bin/python3 ] || return 0
    python3 -c 'import sys; print("libpython%d.%d" % sys.version_info[:2])'
}

# One by one: a distribution may lack one of them, and apt-get then installs none of a list.
install_tried() {
    command -v apt-get >/dev/null 2>&1 && find_root || return 1
    for name in $TRIED; do
        has "$name" || apt_install "r-cran-$(printf '%s' "$name" | tr '[:upper:]' '[:lower:]')" ||
            say "apt-get could not install $name; its own message stands above."
    done
    library=$(python_library)
    [ -z "$library" ] || apt_install "$library" ||
        say "apt-get could not install $library; its own message stands above."
    # shellcheck disable=SC2086  # the list is meant to be split
    has $TRIED
}

switch_blas() {
    command -v apt-get >/dev/null 2>&1 && find_root || return 0
    apt_install "$OPENBLAS" && prefer_openblas && found=$(describe_r)
}

found=$(describe_r) || install_r
uses_openblas "$found" || switch_blas
# shellcheck disable=SC2086  # the list is meant to be split
has $TRIED || install_tried ||
    say "R lacks one of $TRIED; the tests that try them will fail."
say "Ready: $found"
uses_openblas "$found" ||
    say "R does not use OpenBLAS: its answers are right, but its speed is not what it could be."
