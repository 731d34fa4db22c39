#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "sys/fd.h"

struct evp_pkey_st;

namespace bailiff {

// An Ed25519 public key.
class PublicKey {
 public:
  // Errors: kInvalidArgument when `pem` is not an Ed25519 public key.
  static Result<PublicKey> FromPem(std::string_view pem);

  bool Verifies(std::string_view message, std::string_view signature) const;
  std::string Raw() const;  // 32 bytes.

 private:
  friend class SigningKey;
  explicit PublicKey(std::shared_ptr<evp_pkey_st> key) : key_(std::move(key)) {}
  std::shared_ptr<evp_pkey_st> key_;
};

// The Ed25519 key pair that signs the checkpoints of one ledger.
class SigningKey {
 public:
  // The key in `dir`/key.pem; made there (0600), with key.pub beside it, if `may_create` is kYes
  // and there is none. Errors: kNotFound; kPermissionDenied when others can read it;
  //         kInvalidArgument when it is no such key; kIo.
  enum class MayCreate : std::uint8_t { kNo, kYes };
  static Result<SigningKey> Load(const Fd& dir, MayCreate may_create);

  std::string Sign(std::string_view message) const;  // 64 bytes.
  std::string PublicPem() const;
  std::string PublicRaw() const;  // 32 bytes.

 private:
  explicit SigningKey(std::shared_ptr<evp_pkey_st> key) : key_(std::move(key)) {}
  std::shared_ptr<evp_pkey_st> key_;
};

}  // namespace bailiff
