// Prints the seccomp filters as C++ arrays. Part of the build: see CMakeLists.txt.

#include <cstdio>
#include <vector>

#include "sandbox/seccomp_policy.h"

namespace {

void Print(const char* name, const std::vector<sock_filter>& filter) {
  std::printf("constexpr sock_filter %s[] = {\n", name);
  for (const sock_filter& line : filter) {
    std::printf("    {%u, %u, %u, %uU},\n", line.code, line.jt, line.jf, line.k);
  }
  std::printf("};\n");
}

}  // namespace

int main() {
  using bailiff::Tier;
  const auto sandbox = bailiff::BuildSeccompPolicy();
  const auto privileged = bailiff::BuildRenameFilter(Tier::kPrivileged);
  const auto rootless = bailiff::BuildRenameFilter(Tier::kRootless);
  const auto clerk = bailiff::BuildClerkPolicy();
  const auto server = bailiff::BuildServerPolicy();
  for (const bool built : {sandbox.ok(), privileged.ok(), rootless.ok(), clerk.ok(), server.ok()}) {
    if (built) continue;
    std::fprintf(stderr, "compile_filters: libseccomp cannot make a filter\n");
    return 1;
  }
  Print("kCalls", sandbox.value().calls);
  Print("kArguments", sandbox.value().arguments);
  Print("kRenamesPrivileged", privileged.value());
  Print("kRenamesRootless", rootless.value());
  Print("kClerk", clerk.value());
  Print("kServer", server.value());
  return 0;
}
