#pragma once

#include <cstdint>

// The kernel's Landlock interface up to ABI 6, which the headers we build with may not know yet.
// Values are those of linux/landlock.h.

namespace bailiff {

struct LandlockRuleset {
  std::uint64_t handled_access_fs;
  std::uint64_t handled_access_net;  // ABI 4.
  std::uint64_t scoped;              // ABI 6.
};

struct [[gnu::packed]] LandlockPathRule {
  std::uint64_t allowed_access;
  std::int32_t parent_fd;
};

inline constexpr int kLandlockAbiTcp = 4;

inline constexpr unsigned kLandlockVersionQuery = 1;
inline constexpr int kLandlockRulePath = 1;

inline constexpr std::uint64_t kFsExecute = 1U << 0;
inline constexpr std::uint64_t kFsWriteFile = 1U << 1;
inline constexpr std::uint64_t kFsReadFile = 1U << 2;
inline constexpr std::uint64_t kFsReadDir = 1U << 3;
inline constexpr std::uint64_t kFsMakeChar = 1U << 6;
inline constexpr std::uint64_t kFsMakeBlock = 1U << 11;
inline constexpr std::uint64_t kFsAllAbi1 = (1U << 13) - 1;
inline constexpr std::uint64_t kFsRefer = 1U << 13;     // ABI 2.
inline constexpr std::uint64_t kFsTruncate = 1U << 14;  // ABI 3.
inline constexpr std::uint64_t kFsIoctlDev = 1U << 15;  // ABI 5.

inline constexpr std::uint64_t kNetBindTcp = 1U << 0;
inline constexpr std::uint64_t kNetConnectTcp = 1U << 1;

inline constexpr std::uint64_t kScopeAbstractSocket = 1U << 0;
inline constexpr std::uint64_t kScopeSignal = 1U << 1;

}  // namespace bailiff
