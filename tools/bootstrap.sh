# shellcheck shell=bash
# Sourced by the commands of this folder. Afterwards the working directory is the root of the workspace, $uv is a uv
# that is new enough, UV_PYTHON names the Python in use, and .venv holds what uv.lock says.
#
# Needs Python 3.11 or newer. Where uv is missing it is installed with pip into a folder of its own under the user's
# cache folder; the system's Python is never written to.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

die() { echo "error: $*" >&2; exit 1; }

# An environment of somebody else's would be taken for ours.
unset VIRTUAL_ENV PYTHONHOME PYTHONPATH UV_PROJECT_ENVIRONMENT UV_PROJECT UV_WORKING_DIRECTORY
if [ ! -t 2 ]; then export UV_NO_PROGRESS=1; fi

# uv and pip put their caches under HOME, which a bare environment may lack.
if [ -z "${HOME:-}" ] || ! mkdir -p "$HOME" 2>/dev/null || [ ! -w "$HOME" ]; then
  HOME=${TMPDIR:-/tmp}/pydatatask-home-$(id -u)
  export HOME
  (umask 077 && mkdir -p "$HOME")
  [ -O "$HOME" ] || die "$HOME belongs to another user. Set HOME to a folder of your own."
fi

is_python() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
find_python() {
  local name
  for name in "${UV_PYTHON:-}" python3 python3.11 python3.12 python3.13 python3.14 python; do
    if [ -n "$name" ] && is_python "$name"; then
      "$name" -c 'import sys; print(sys.executable)'
      return
    fi
  done
  die "No Python 3.11 or newer on PATH. Install one, or name it with UV_PYTHON=/path/to/python3.11."
}
UV_PYTHON=$(find_python)
export UV_PYTHON

oldest_uv=$(sed -n 's/^required-version = ">=\(.*\)"$/\1/p' pyproject.toml)
is_uv() {
  local version
  version=$("$1" --version 2>/dev/null) || return 1
  version=${version#uv }
  [ "$(printf '%s\n' "$oldest_uv" "${version%% *}" | sort -V | head -n 1)" = "$oldest_uv" ]
}
# Made beside its place and renamed, so that commands started together do not meet a half of it.
install_uv() {
  local made=$1.$$ log=$1.$$.log
  mkdir -p "$(dirname "$1")"
  echo "Installing uv into $1" >&2
  if "$UV_PYTHON" -m venv "$made" >"$log" 2>&1; then
    "$made/bin/python" -m pip install --quiet --disable-pip-version-check "uv>=$oldest_uv" >>"$log" 2>&1
  else
    rm -rf "$made"
    "$UV_PYTHON" -m pip install --quiet --disable-pip-version-check --target "$made" "uv>=$oldest_uv" >>"$log" 2>&1
  fi || { cat "$log" >&2; rm -rf "$made" "$log"
          die "uv could not be installed with $UV_PYTHON; the reason is above. Debian's Python needs the package" \
              "python3-venv. Or install uv $oldest_uv or newer yourself."; }
  rm -rf "$1" "$log"
  mv "$made" "$1" 2>/dev/null || rm -rf "$made"
}
uv=$(command -v uv || true)
if [ -z "$uv" ] || ! is_uv "$uv"; then
  uv=${XDG_CACHE_HOME:-$HOME/.cache}/pydatatask-tools/uv/bin/uv
  is_uv "$uv" || install_uv "${uv%/bin/uv}"
  is_uv "$uv" || die "The uv in $uv does not run. Remove its folder and try again."
fi

echo "== $("$uv" --version), $("$UV_PYTHON" --version): syncing .venv with uv.lock" >&2
"$uv" sync --locked --quiet
