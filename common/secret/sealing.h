#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tidemark {

// Seals secrets for rest: what the metadata store keeps of a DSN is of no use without the key file.
//
// A value is encrypted with XChaCha20-Poly1305 directly under a key-encryption key, with a random nonce of 192 bits. A
// data key per value would buy a rotation that does not touch the value, which pays for large ones; these are short
// and stand in the row that is rewritten anyway.
//
// The sealed text is "sealed:v1:KEY:BASE64URL" and is bound to its place, such as "connection/shop/dsn": in another row
// or column it does not open. Its length tells that of the secret. Errors are one line that names the place and, at
// most, the key's id.
//
// Immutable: thread-safe. Keys are kept in locked memory and wiped.
class Sealer {
 public:
  // The key file holds keys of 32 bytes, one a line, as "id:KEY" or "KEY" in base64 or hexadecimal digits, or is one
  // key's bytes as they are; blank lines and those that begin with # count for nothing. A key without an id has one
  // that is made of a hash of it. The first one seals, all unseal: to rotate, put a new one above the others, seal
  // again what needs it, and then take the old one out. An id is 1 to 32 letters, digits, -, _ and dots. NotFound
  // without a file. InvalidArgument names the bad line.
  static absl::StatusOr<Sealer> FromKeyFile(const std::string& path);
  // The same from the text of a key file.
  static absl::StatusOr<Sealer> FromKeys(std::string_view keys);

  Sealer(Sealer&&) noexcept;
  Sealer& operator=(Sealer&&) noexcept;
  ~Sealer();

  // Printable; differs at each call.
  std::string Seal(std::string_view secret, std::string_view place) const;
  // FailedPrecondition: the key it was sealed with is not in the file. DataLoss: it was altered, was sealed for another
  // place, by another key of that id, or is no sealed text.
  absl::StatusOr<std::string> Unseal(std::string_view sealed, std::string_view place) const;
  // Whether Seal would now use another key. Says nothing about whether `sealed` opens.
  bool NeedsReseal(std::string_view sealed) const;

 private:
  struct Key;
  struct Keys;
  explicit Sealer(std::unique_ptr<const Keys> keys);
  static absl::StatusOr<Key> MakeKey(std::string_view id);
  static absl::StatusOr<Sealer> FromRawKey(std::string_view bytes);

  std::unique_ptr<const Keys> keys_;
};

// By its beginning: no DSN begins like a sealed text.
bool IsSealed(std::string_view text);

// FailedPrecondition if others could read the file: its mode should be 0600 or less, or 0640 or less if root owns it,
// which is how an orchestrator mounts secrets for a group. Worth a warning.
absl::Status CheckKeyFileMode(const std::string& path);

// Makes a key file with one fresh random key, mode 0600, all of it or nothing. AlreadyExists if there is a file, which
// is left as it is.
absl::Status CreateKeyFile(const std::string& path);

}  // namespace tidemark
