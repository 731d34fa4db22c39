#!/usr/bin/env bash
# Installs what Bailiff needs from Debian 12.
# usage: tools/install-deps.sh [build] [test] [lint] [bench]      (default: build)
#
# Asks dpkg first, so a second run is instant and needs no network.
set -euo pipefail

build=(
  g++ cmake ninja-build ccache make git pkg-config
  libboost1.81-dev libboost-json1.81-dev libsqlite3-dev libssl-dev libseccomp-dev
  libcli11-dev libtomlplusplus-dev libre2-dev libfmt-dev libgtest-dev libgmock-dev
  python3 python3-pypdf python3-pil
)
test=(
  "${build[@]}"
  python3-pytest python3-pytest-xdist python3-venv strace attr acl e2fsprogs util-linux poppler-utils
  procps sqlite3 binutils curl
  user-mode-linux kmod bindfs fuse3 libpython3.11-testsuite clang libclang-rt-14-dev systemd
)
lint=(clang-format clang-tidy clang binutils python3 python3-pytest)
# The peers that `make bench` measures beside Bailiff, and what asks the servers.
bench=(bubblewrap crun runc podman wrk strace)

wanted=()
for group in "${@:-build}"; do
  case $group in
    build) wanted+=("${build[@]}") ;;
    test) wanted+=("${test[@]}") ;;
    lint) wanted+=("${lint[@]}") ;;
    bench) wanted+=("${bench[@]}") ;;
    *)
      echo "install-deps: no group '$group'; the groups are build, test, lint, bench" >&2
      exit 2
      ;;
  esac
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "install-deps: not a Debian system; install these yourself: ${wanted[*]}" >&2
  exit 0
fi

installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null |
  sed -n 's/^installed //p') || true
missing=()
while read -r package; do
  grep -qxF -- "$package" <<<"$installed" || missing+=("$package")
done < <(printf '%s\n' "${wanted[@]}" | sort -u)

if [ ${#missing[@]} -eq 0 ]; then
  echo "install-deps: ${*:-build}: everything is there"
  exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "install-deps: missing ${missing[*]}; run as root, or install sudo" >&2
    exit 1
  fi
  as_root=(sudo)
fi

apt() {
  # A lock held by another apt is waited for; a fetch is tried again before the whole call is.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q \
    -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "$@" </dev/null
}

install() {
  apt update && apt install -y --no-install-recommends "${missing[@]}"
}

echo "install-deps: installing ${missing[*]}"
for attempt in 1 2 3; do
  if install; then
    echo "install-deps: installed ${#missing[@]} packages"
    exit 0
  fi
  echo "install-deps: attempt $attempt of 3 did not succeed" >&2
  sleep $((attempt * 5))
done
exit 1
