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
  const auto sandbox = bailiff::BuildSeccompPolicy();
  const auto clerk = bailiff::BuildClerkPolicy();
  if (!sandbox.ok() || !clerk.ok()) {
    const bailiff::Error& error = sandbox.ok() ? clerk.error() : sandbox.error();
    std::fprintf(stderr, "compile_filters: %s\n", error.message().c_str());
    return 1;
  }
  Print("kCalls", sandbox.value().calls);
  Print("kArguments", sandbox.value().arguments);
  Print("kClerk", clerk.value());
  return 0;
}
