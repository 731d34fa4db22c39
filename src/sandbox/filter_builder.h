#pragma once

#include <linux/filter.h>
#include <seccomp.h>

#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "base/result.h"

namespace bailiff {

// A seccomp filter on its way: rules by libseccomp, exported as a program. Names that this
// libseccomp or machine does not know are left out. The first failure is kept for Export().
class FilterBuilder {
 public:
  // A call of another architecture kills.
  explicit FilterBuilder(std::uint32_t default_action);

  void Add(std::uint32_t action, const char* name) { AddRule(action, name, nullptr); }
  void Add(std::uint32_t action, const char* name, scmp_arg_cmp comparison) {
    AddRule(action, name, &comparison);
  }

  // Sockets of other families than these, which are in order, are EAFNOSUPPORT.
  void RefuseFamiliesBut(std::span<const int> families);

  // Errors: kUnsupported when libseccomp does not know this machine; kInternal; kIo.
  Result<std::vector<sock_filter>> Export() const;

 private:
  using Context = std::unique_ptr<std::remove_pointer_t<scmp_filter_ctx>, void (*)(void*)>;

  void AddRule(std::uint32_t action, const char* name, const scmp_arg_cmp* comparison);
  void Note(int rc);

  Context context_;
  int failed_ = 0;
};

}  // namespace bailiff
