#include "sandbox/filter_builder.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "sys/fd.h"
#include "sys/file.h"

namespace bailiff {
namespace {

Result<Fd> MakeMemoryFd() {
  const int fd = ::memfd_create("seccomp", MFD_CLOEXEC);
  if (fd < 0) return Error::FromErrno(errno, "memfd_create");
  return Fd(fd);
}

}  // namespace

FilterBuilder::FilterBuilder(std::uint32_t default_action)
    : context_(seccomp_init(default_action), seccomp_release) {
  if (context_ == nullptr) failed_ = ENOMEM;
  Note(seccomp_attr_set(context_.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS));
  // A binary tree by call number: a linear filter costs every call.
  Note(seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2));
}

void FilterBuilder::RefuseFamiliesBut(std::span<const int> families) {
  const std::uint32_t no_family = SCMP_ACT_ERRNO(EAFNOSUPPORT);
  for (int family = AF_UNSPEC; family < families.back(); ++family) {
    if (std::find(families.begin(), families.end(), family) != families.end()) continue;
    Add(no_family, "socket", SCMP_A0_64(SCMP_CMP_EQ, static_cast<scmp_datum_t>(family)));
  }
  const auto last = static_cast<scmp_datum_t>(families.back());
  Add(no_family, "socket", SCMP_A0_64(SCMP_CMP_GT, last));
}

Result<std::vector<sock_filter>> FilterBuilder::Export() const {
  if (failed_ != 0) return Error::FromErrno(failed_, "build seccomp filter");
  const Fd file = TRY(MakeMemoryFd());
  if (const int rc = seccomp_export_bpf(context_.get(), file.get()); rc != 0) {
    return Error::FromErrno(-rc, "build seccomp filter");
  }
  if (::lseek(file.get(), 0, SEEK_SET) != 0) return Error::FromErrno(errno, "seek");
  constexpr std::size_t kFilterBytesMax = BPF_MAXINSNS * sizeof(sock_filter);
  const std::string bytes = TRY(ReadAll(file, kFilterBytesMax));
  std::vector<sock_filter> program(bytes.size() / sizeof(sock_filter));
  std::memcpy(program.data(), bytes.data(), program.size() * sizeof(sock_filter));
  return program;
}

void FilterBuilder::AddRule(std::uint32_t action, const char* name,
                            const scmp_arg_cmp* comparison) {
  const int number = seccomp_syscall_resolve_name(name);
  if (number == __NR_SCMP_ERROR || number < 0) return;
  Note(seccomp_rule_add_array(context_.get(), action, number, comparison != nullptr ? 1 : 0,
                              comparison));
}

void FilterBuilder::Note(int rc) {
  if (rc != 0 && failed_ == 0) failed_ = -rc;
}

}  // namespace bailiff
