# Sourced by scripts/run, scripts/test and scripts/bench: makes the Python environment the caller works in.
#
#   root=/path/to/the/checkout; . "$root/scripts/_env.sh"; certledger_env run|dev
#
# Afterwards $venv/bin holds everything the lock file pins, and the project itself, editable.
# CERTLEDGER_VENV moves the environment away from $root/.venv.

unset PYTHONHOME PYTHONPATH
venv=${CERTLEDGER_VENV:-$root/.venv}
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac

say() { printf 'certledger: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Prints the first Python that is recent enough and can create virtual environments.
find_python() {
    too_old= no_venv=
    for name in python3 python3.14 python3.13 python3.12 python3.11 python; do
        candidate=$(command -v "$name" 2>/dev/null) || continue
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 ||
            { too_old=$candidate; continue; }
        "$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
            { no_venv=$candidate; continue; }
        printf '%s\n' "$candidate"
        return
    done
    [ -z "$no_venv" ] || die "$no_venv has no venv module; install it (Debian: apt install python3-venv)"
    [ -z "$too_old" ] || die "needs Python 3.11 or newer; $too_old is older or does not run"
    die "needs Python 3.11 or newer; found no python3 on PATH"
}

# One line that identifies the inputs of the environment: the checkout, the Python, the pins.
stamp_of() {
    "$1" - "$root" "$2" <<'PY'
import hashlib, pathlib, sys
root, kind = pathlib.Path(sys.argv[1]), sys.argv[2]
names = ["pyproject.toml", "requirements.lock"] + ["requirements-dev.lock"] * (kind == "dev")
pins = hashlib.sha256(b"\0".join((root / name).read_bytes() for name in names)).hexdigest()
print(f"{pins} {sys.version_info[0]}.{sys.version_info[1]} {root}")
PY
}

pip_install() {
    # A user's pip settings must not change where to install or the hash check.
    PIP_USER=0 PIP_REQUIRE_HASHES=0 PIP_DISABLE_PIP_VERSION_CHECK=1 \
        "$venv/bin/python" -m pip install --quiet --no-input "$@" >>"$venv/install.log" 2>&1 && return
    if grep -qE 'NewConnectionError|NameResolution|ConnectTimeout|Connection(Reset|Refused)|ProxyError|SSLError' \
        "$venv/install.log"; then
        die "cannot reach the package index: is there a network, a proxy to set? ($venv/install.log)"
    fi
    reason=$(grep -m1 '^ *ERROR: ' "$venv/install.log" || tail -n 1 "$venv/install.log")
    die "cannot install the Python packages: ${reason#ERROR: } ($venv/install.log)"
}

install_into_venv() {
    kind=$1 python=$2 stamp=$3
    if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv" 2>/dev/null)" ]; then
        die "$venv exists and is no virtual environment; set CERTLEDGER_VENV to another place"
    fi
    # Another checkout or Python created it: its scripts contain the old path, so recreate it.
    if [ "$(cut -d' ' -f2- "$venv/.stamp-run" 2>/dev/null)" != "${stamp#* }" ] ||
        ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        # Clearing follows a link, and would empty the environment of another checkout.
        [ ! -L "$venv" ] || die "$venv is a link to another checkout's environment; remove it"
        say "making the Python environment in $venv (once, a minute or so)"
        "$python" -m venv --clear "$venv" >/dev/null 2>&1 ||
            die "cannot make a virtual environment in $venv with $python: no space, no permission, no ensurepip?"
        # Written first with no pins, so that an interrupted run continues where it stopped.
        printf 'none %s\n' "${stamp#* }" >"$venv/.stamp-run"
    else
        say "bringing the Python environment in $venv up to date"
    fi
    : >"$venv/install.log"
    lock=requirements.lock
    [ "$kind" = run ] || lock=requirements-dev.lock
    pip_install --require-hashes -r "$root/$lock"
    # The lock includes the build back end, so the build fetches nothing unpinned.
    pip_install --no-index --no-deps --no-build-isolation -e "$root"
    printf '%s\n' "$(stamp_of "$python" run)" >"$venv/.stamp-run"
    [ "$kind" = run ] || printf '%s\n' "$stamp" >"$venv/.stamp-dev"
}

# install_packages WHO: installs the Debian packages that the caller's missing_packages names, if that is allowed here;
# says which of them WHO also needs if it is not.
install_packages() {
    who=$1 missing=$(missing_packages)
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        say "installing ${missing% }"
        log=$venv/apt.log
        # shellcheck disable=SC2086  # a list of words
        {
            DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 update &&
                DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 \
                    install -y --no-install-recommends $missing
        } >"$log" 2>&1 9>&- || say "apt-get failed: $(tail -n 1 "$log") ($log)"
        missing=$(missing_packages)
    fi
    [ -z "$missing" ] || say "$who also need these system packages: ${missing% }"
}

# certledger_env KIND [COMMAND…]: KIND is run or dev; COMMAND, if any, runs under the same lock.
certledger_env() {
    kind=$1
    shift
    python=$(find_python) || exit 1
    mkdir -p "$(dirname "$venv")" 2>/dev/null || die "cannot write to $(dirname "$venv")"
    # The lock is held while descriptor 9 is open: a killed run leaves no lock behind.
    { exec 9>>"$venv.lock"; } 2>/dev/null || die "cannot write $venv.lock"
    "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null || {
        say "waiting for another start that is making $venv"
        "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
    }
    stamp=$(stamp_of "$python" "$kind") || die "cannot read the lock files in $root"
    if [ "$(cat "$venv/.stamp-$kind" 2>/dev/null)" != "$stamp" ] || [ ! -x "$venv/bin/python" ]; then
        install_into_venv "$kind" "$python" "$stamp"
    fi
    [ $# -eq 0 ] || "$@"
    exec 9>&-
    PATH=$venv/bin:$PATH
    VIRTUAL_ENV=$venv
    export PATH VIRTUAL_ENV
}

# Lint, format and types of the checkout; all of them run, the last failure is the status.
static_checks() {
    checks=0
    "$venv/bin/ruff" check --quiet . || checks=$?
    "$venv/bin/ruff" format --check --quiet . || checks=$?
    "$venv/bin/mypy" --no-error-summary || checks=$?
    return $checks
}
