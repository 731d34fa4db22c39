#pragma once

#include <string>
#include <string_view>

struct SHA256state_st;

namespace bailiff {

// SHA-256 as raw 32 bytes, over bytes that arrive in pieces.
class Sha256 {
 public:
  static constexpr std::size_t kSize = 32;

  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void Update(std::string_view bytes);

  // The digest of everything so far. Call once.
  std::string Finish();

  static std::string Of(std::string_view bytes);

 private:
  SHA256state_st* context_;
};

// "sha256:<hex>", how a digest appears in documents and on the command line.
std::string FormatDigest(std::string_view raw);

}  // namespace bailiff
