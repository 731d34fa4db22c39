#!/bin/sh
# Fails if the code that runs between fork and exec refers to anything but system calls.
# usage: check_child_symbols.sh OBJECT_FILE...
#
# The objects may use each other. Everything else must be in the list: plain system-call wrappers,
# which neither allocate nor lock, and the few functions that compilers call on their own. The names
# in _chk and _2 are what the C library's fortified headers make of them.
set -eu
export LC_ALL=C

allowed='
  __errno_location __stack_chk_fail _GLOBAL_OFFSET_TABLE_
  memcpy memmove memset memcmp strlen strnlen strcmp
  __memcpy_chk __memmove_chk __memset_chk __chk_fail
  syscall prctl _exit execve execveat fork waitpid wait4 waitid kill getpid getppid
  read write pread pwrite close poll ppoll sendmsg recvmsg dup2 dup3 fcntl pipe2
  __read_chk __pread_chk __poll_chk __ppoll_chk __open_2 __openat_2
  open openat mkdir mkdirat symlink symlinkat chdir fchdir chroot umask fchmod fchown fstat fstatat
  mount umount2 pivot_root unshare setns sethostname setsid
  getrlimit setrlimit prlimit
  sigaction sigprocmask sigemptyset sigfillset sigaddset
'

if [ $# -eq 0 ]; then
  echo "usage: check_child_symbols.sh OBJECT_FILE..." >&2
  exit 2
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for name in $allowed; do
  # 64-bit file offsets rename some wrappers: open64, __open64_2, fcntl64.
  case $name in
    __*_2) printf '%s\n%s\n' "$name" "${name%_2}64_2" ;;
    *) printf '%s\n%s64\n' "$name" "$name" ;;
  esac
done >"$work/allowed"

for object in "$@"; do
  nm --defined-only --no-demangle "$object" >"$work/nm"
  awk 'NF {print $NF}' "$work/nm" >>"$work/allowed"
done

status=0
for object in "$@"; do
  nm --undefined-only --no-demangle "$object" >"$work/nm"
  awk 'NF {print $NF}' "$work/nm" >"$work/used"
  if grep -Fvxf "$work/allowed" "$work/used" >"$work/found"; then
    echo "error: $object runs after fork() and must not use:" >&2
    c++filt <"$work/found" | sed 's/^/  /' >&2
    status=1
  fi
done
exit $status
