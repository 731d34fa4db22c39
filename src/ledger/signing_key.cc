#include "ledger/signing_key.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sys/stat.h>

#include <array>
#include <optional>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "sys/file.h"

namespace bailiff {
namespace {

constexpr std::size_t kKeyFileBytesMax = 16 * 1024;
constexpr std::size_t kSignatureBytes = 64;
constexpr std::size_t kKeyBytes = 32;

using Bio = std::unique_ptr<BIO, decltype(&::BIO_free)>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, decltype(&::EVP_MD_CTX_free)>;

Bio ReadingFrom(std::string_view text) {
  Bio bio(::BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), &::BIO_free);
  CHECK(bio != nullptr);
  return bio;
}

std::string Contents(BIO* bio) {
  std::string text;
  std::array<char, 4096> chunk;
  for (int n = 0; (n = ::BIO_read(bio, chunk.data(), static_cast<int>(chunk.size()))) > 0;) {
    text.append(chunk.data(), static_cast<std::size_t>(n));
  }
  return text;
}

// The two forms below are what everybody writes (RFC 8410), and are read and written here: the
// library's general reader first collects every format that it knows, which takes it a millisecond.
constexpr std::string_view kPrivatePrefix(
    "\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22"
    "\x04\x20",
    16);
constexpr std::string_view kPublicPrefix("\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00", 12);

// The system's openssl.cnf has no say in how a ledger is signed, and reading it takes time. So does
// getting ready for every cipher and digest there is.
void LeaveConfiguration() {
  constexpr std::uint64_t kLeftOut = OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ADD_ALL_CIPHERS |
                                     OPENSSL_INIT_NO_ADD_ALL_DIGESTS |
                                     OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS;
  CHECK(::OPENSSL_init_crypto(kLeftOut, nullptr) == 1);
}

// The 32 bytes of a key in the usual form of `label`; nothing for any other form.
std::optional<std::string> RawKey(std::string_view pem, std::string_view label,
                                  std::string_view prefix) {
  const std::string begin = "-----BEGIN " + std::string(label) + "-----\n";
  const std::string end = "\n-----END " + std::string(label) + "-----\n";
  if (!pem.starts_with(begin) || !pem.ends_with(end)) return std::nullopt;
  if (pem.size() < begin.size() + end.size()) return std::nullopt;
  pem = pem.substr(begin.size(), pem.size() - begin.size() - end.size());
  const Result<std::string> der = FromBase64(pem);
  if (!der.ok() || !der.value().starts_with(prefix)) return std::nullopt;
  if (der.value().size() != prefix.size() + kKeyBytes) return std::nullopt;
  return der.value().substr(prefix.size());
}

const unsigned char* Bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

bool IsEd25519(const EVP_PKEY* key) {
  return key != nullptr && ::EVP_PKEY_get_id(key) == EVP_PKEY_ED25519;
}

std::shared_ptr<EVP_PKEY> Own(EVP_PKEY* key) {
  return {key, &::EVP_PKEY_free};
}

std::string RawPublic(const EVP_PKEY* key) {
  std::string raw(kKeyBytes, '\0');
  std::size_t size = raw.size();
  CHECK(::EVP_PKEY_get_raw_public_key(key, reinterpret_cast<unsigned char*>(raw.data()), &size) ==
        1);
  CHECK(size == kKeyBytes);
  return raw;
}

// OpenSSL asks on the terminal for the passphrase of an encrypted key unless a callback answers.
int NoPassphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*context*/) {
  return -1;
}

Result<std::shared_ptr<EVP_PKEY>> MakeKey(const Fd& dir) {
  std::shared_ptr<EVP_PKEY> key = Own(::EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  if (key == nullptr) return Error(ErrorCode::kInternal, "make signing key: OpenSSL refused");
  const Bio bio(::BIO_new(::BIO_s_mem()), &::BIO_free);
  CHECK(bio != nullptr);
  CHECK(::PEM_write_bio_PKCS8PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr,
                                        nullptr) == 1);
  TRY(ReplaceFile(dir, "key.pem", Contents(bio.get()), 0600));
  return key;
}

}  // namespace

Result<PublicKey> PublicKey::FromPem(std::string_view pem) {
  LeaveConfiguration();
  std::shared_ptr<EVP_PKEY> key;
  if (const auto raw = RawKey(pem, "PUBLIC KEY", kPublicPrefix); raw.has_value()) {
    key = Own(::EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, Bytes(*raw), raw->size()));
  } else {
    const Bio bio = ReadingFrom(pem);
    key = Own(::PEM_read_bio_PUBKEY(bio.get(), nullptr, &NoPassphrase, nullptr));
  }
  if (!IsEd25519(key.get())) {
    return Error(ErrorCode::kInvalidArgument,
                 "public key: not an Ed25519 key in PEM; the ledger's own is in its key.pub");
  }
  return PublicKey(std::move(key));
}

bool PublicKey::Verifies(std::string_view message, std::string_view signature) const {
  const DigestContext context(::EVP_MD_CTX_new(), &::EVP_MD_CTX_free);
  CHECK(context != nullptr);
  CHECK(::EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key_.get()) == 1);
  return signature.size() == kSignatureBytes &&
         ::EVP_DigestVerify(context.get(), Bytes(signature), signature.size(), Bytes(message),
                            message.size()) == 1;
}

std::string PublicKey::Raw() const {
  return RawPublic(key_.get());
}

Result<SigningKey> SigningKey::Load(const Fd& dir, MayCreate may_create) {
  LeaveConfiguration();
  const std::optional<struct stat> existing = TRY(StatAt(dir, "key.pem"));
  if (may_create == MayCreate::kYes && !existing.has_value()) {
    SigningKey made(TRY(MakeKey(dir)));
    TRY(ReplaceFile(dir, "key.pub", made.PublicPem(), 0644));
    return made;
  }
  const Fd file = TRY(OpenBeneath(dir, "key.pem", O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  const struct stat st = TRY(Stat(file));
  if (!S_ISREG(st.st_mode) || (st.st_mode & 077) != 0) {
    return Error(ErrorCode::kPermissionDenied,
                 "key.pem: other users may read the signing key; chmod it to 600, and consider "
                 "whether somebody has copied it");
  }
  const std::string pem = TRY(ReadAll(file, kKeyFileBytesMax));
  std::shared_ptr<EVP_PKEY> key;
  if (const auto raw = RawKey(pem, "PRIVATE KEY", kPrivatePrefix); raw.has_value()) {
    key = Own(::EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, Bytes(*raw), raw->size()));
  } else {
    const Bio bio = ReadingFrom(pem);
    key = Own(::PEM_read_bio_PrivateKey(bio.get(), nullptr, &NoPassphrase, nullptr));
  }
  if (!IsEd25519(key.get())) {
    return Error(ErrorCode::kInvalidArgument,
                 "key.pem: not an Ed25519 private key; restore it from a backup");
  }
  SigningKey loaded(std::move(key));
  // A crash may have come between the two files.
  const std::optional<struct stat> public_half = TRY(StatAt(dir, "key.pub"));
  if (!public_half.has_value()) TRY(ReplaceFile(dir, "key.pub", loaded.PublicPem(), 0644));
  return loaded;
}

std::string SigningKey::Sign(std::string_view message) const {
  const DigestContext context(::EVP_MD_CTX_new(), &::EVP_MD_CTX_free);
  CHECK(context != nullptr);
  CHECK(::EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_.get()) == 1);
  std::string signature(kSignatureBytes, '\0');
  std::size_t size = signature.size();
  CHECK(::EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                         Bytes(message), message.size()) == 1);
  CHECK(size == kSignatureBytes);
  return signature;
}

std::string SigningKey::PublicPem() const {
  const std::string der = std::string(kPublicPrefix) + RawPublic(key_.get());
  return "-----BEGIN PUBLIC KEY-----\n" + ToBase64(der) + "\n-----END PUBLIC KEY-----\n";
}

std::string SigningKey::PublicRaw() const {
  return RawPublic(key_.get());
}

}  // namespace bailiff
