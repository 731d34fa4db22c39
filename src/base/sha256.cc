// The plain functions, which OpenSSL 3 calls deprecated: those of EVP first find a provider, which
// takes each new process longer than hashing a megabyte. The code that they run is the same.
#define OPENSSL_SUPPRESS_DEPRECATED

#include "base/sha256.h"

#include <openssl/sha.h>

#include "base/bytes.h"
#include "base/check.h"

namespace bailiff {

Sha256::Sha256() : context_(new SHA256_CTX) {
  CHECK(::SHA256_Init(context_) == 1);
}

Sha256::~Sha256() {
  delete context_;
}

void Sha256::Update(std::string_view bytes) {
  CHECK(::SHA256_Update(context_, bytes.data(), bytes.size()) == 1);
}

std::string Sha256::Finish() {
  std::string digest(kSize, '\0');
  CHECK(::SHA256_Final(reinterpret_cast<unsigned char*>(digest.data()), context_) == 1);
  return digest;
}

std::string Sha256::Of(std::string_view bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return hash.Finish();
}

std::string FormatDigest(std::string_view raw) {
  return "sha256:" + ToHex(raw);
}

}  // namespace bailiff
