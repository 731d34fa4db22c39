#include "base/sha256.h"

#include <openssl/evp.h>

#include "base/bytes.h"
#include "base/check.h"

namespace bailiff {

Sha256::Sha256() : context_(::EVP_MD_CTX_new()) {
  CHECK(context_ != nullptr);
  CHECK(::EVP_DigestInit_ex(context_, ::EVP_sha256(), nullptr) == 1);
}

Sha256::~Sha256() {
  ::EVP_MD_CTX_free(context_);
}

void Sha256::Update(std::string_view bytes) {
  CHECK(::EVP_DigestUpdate(context_, bytes.data(), bytes.size()) == 1);
}

std::string Sha256::Finish() {
  std::string digest(kSize, '\0');
  unsigned int size = 0;
  CHECK(::EVP_DigestFinal_ex(context_, reinterpret_cast<unsigned char*>(digest.data()), &size) ==
        1);
  CHECK(size == kSize);
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
