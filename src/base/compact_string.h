#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "base/check.h"

namespace bailiff {

// Bytes that most of their owners do not have: a pointer long when empty, where std::string takes
// 32 bytes, and one allocation otherwise. For values of which there are hundreds of thousands.
class CompactString {
 public:
  CompactString() = default;
  explicit CompactString(std::string_view bytes) {
    if (bytes.empty()) return;
    CHECK(bytes.size() <= UINT32_MAX);
    const auto size = static_cast<std::uint32_t>(bytes.size());
    block_.reset(new char[sizeof(size) + bytes.size()]);
    std::memcpy(block_.get(), &size, sizeof(size));
    std::memcpy(block_.get() + sizeof(size), bytes.data(), bytes.size());
  }
  CompactString(const CompactString& other) : CompactString(other.view()) {}
  CompactString(CompactString&&) noexcept = default;
  CompactString& operator=(const CompactString& other) {
    *this = CompactString(other);
    return *this;
  }
  CompactString& operator=(CompactString&&) noexcept = default;
  CompactString& operator=(std::string_view bytes) {
    *this = CompactString(bytes);
    return *this;
  }
  ~CompactString() = default;

  std::string_view view() const {
    if (block_ == nullptr) return {};
    std::uint32_t size = 0;
    std::memcpy(&size, block_.get(), sizeof(size));
    return {block_.get() + sizeof(size), size};
  }
  std::string str() const { return std::string(view()); }
  operator std::string_view() const { return view(); }  // NOLINT(google-explicit-constructor)
  bool empty() const { return block_ == nullptr; }
  void clear() { block_.reset(); }

  friend bool operator==(const CompactString& left, const CompactString& right) {
    return left.view() == right.view();
  }
  friend bool operator==(const CompactString& left, std::string_view right) {
    return left.view() == right;
  }

 private:
  std::unique_ptr<char[]> block_;  // The size, then the bytes.
};

}  // namespace bailiff
