#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "common/secret/sealing.h"

namespace tidemark {
namespace {

constexpr std::string_view kPrefix = "sealed:v1:";
constexpr int kBase64 = sodium_base64_VARIANT_URLSAFE_NO_PADDING;
constexpr size_t kKeySize = crypto_aead_xchacha20poly1305_ietf_KEYBYTES;
constexpr size_t kNonceSize = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr size_t kTagSize = crypto_aead_xchacha20poly1305_ietf_ABYTES;
constexpr size_t kLongestId = 32;
constexpr size_t kLargestFile = 64 << 10;

absl::Status Initialize() {
  static const int result = sodium_init();
  return result < 0 ? absl::InternalError("libsodium does not start") : absl::OkStatus();
}

bool IsKeyId(std::string_view id) {
  return !id.empty() && id.size() <= kLongestId && std::all_of(id.begin(), id.end(), [](char c) {
    return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
  });
}

const unsigned char* Bytes(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }
unsigned char* Bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

// Holds a secret for a while.
class WipedString {
 public:
  explicit WipedString(size_t size) : text_(size, '\0') {}
  ~WipedString() { sodium_memzero(text_.data(), text_.size()); }
  WipedString(const WipedString&) = delete;
  WipedString& operator=(const WipedString&) = delete;

  char* data() { return text_.data(); }
  size_t size() const { return text_.size(); }
  std::string_view Prefix(size_t size) const { return std::string_view(text_).substr(0, size); }

 private:
  std::string text_;
};

std::string ToBase64(const unsigned char* data, size_t size, int variant) {
  std::string text(sodium_base64_encoded_len(size, variant), '\0');
  sodium_bin2base64(text.data(), text.size(), data, size, variant);
  // Without the terminator.
  text.pop_back();
  return text;
}

struct SodiumFree {
  void operator()(unsigned char* memory) const { sodium_free(memory); }
};

// What is bound to a sealed text besides the secret. An id holds no colon, so no two pairs give the same.
std::string AssociatedData(std::string_view id, std::string_view place) {
  return absl::StrCat(Abs(kPrefix), Abs(id), ":", Abs(place));
}

struct SealedParts {
  std::string_view id;
  std::string_view body;
};

bool Split(std::string_view sealed, SealedParts* parts) {
  if (!IsSealed(sealed)) return false;
  sealed.remove_prefix(kPrefix.size());
  const size_t colon = sealed.find(':');
  if (colon == sealed.npos) return false;
  *parts = {sealed.substr(0, colon), sealed.substr(colon + 1)};
  return IsKeyId(parts->id);
}

// Takes any of the usual spellings.
bool DecodeKey(absl::string_view text, unsigned char* key) {
  size_t size = 0;
  for (const int variant : {sodium_base64_VARIANT_ORIGINAL, sodium_base64_VARIANT_ORIGINAL_NO_PADDING,
                            sodium_base64_VARIANT_URLSAFE, sodium_base64_VARIANT_URLSAFE_NO_PADDING}) {
    const bool read = sodium_base642bin(key, kKeySize, text.data(), text.size(), nullptr, &size, nullptr, variant) == 0;
    if (read && size == kKeySize) return true;
  }
  return sodium_hex2bin(key, kKeySize, text.data(), text.size(), nullptr, &size, nullptr) == 0 && size == kKeySize &&
         text.size() == 2 * kKeySize;
}

// Of a key that was given none: tells two keys apart and nothing of either.
std::string IdOfKey(const unsigned char* key) {
  std::array<unsigned char, crypto_generichash_BYTES_MIN> hash;
  constexpr std::string_view kPurpose = "tidemark key id";
  crypto_generichash(hash.data(), hash.size(), key, kKeySize, Bytes(kPurpose), kPurpose.size());
  return absl::StrFormat("key-%02x%02x%02x%02x", hash[0], hash[1], hash[2], hash[3]);
}

absl::Status WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return absl::ErrnoToStatus(errno, "write");
    text.remove_prefix(written);
  }
  return fsync(fd) == 0 ? absl::OkStatus() : absl::ErrnoToStatus(errno, "fsync");
}

}  // namespace

struct Sealer::Key {
  std::string id;
  std::unique_ptr<unsigned char, SodiumFree> bytes;
};

struct Sealer::Keys {
  const Key* Find(std::string_view id) const {
    const auto it = std::find_if(keys.begin(), keys.end(), [&](const Key& key) { return key.id == id; });
    return it == keys.end() ? nullptr : &*it;
  }

  std::vector<Key> keys;
};

Sealer::Sealer(std::unique_ptr<const Keys> keys) : keys_(std::move(keys)) {}
Sealer::Sealer(Sealer&&) noexcept = default;
Sealer& Sealer::operator=(Sealer&&) noexcept = default;
Sealer::~Sealer() = default;

absl::StatusOr<Sealer::Key> Sealer::MakeKey(std::string_view id) {
  Key key;
  key.id = std::string(id);
  key.bytes.reset(static_cast<unsigned char*>(sodium_malloc(kKeySize)));
  if (key.bytes == nullptr) return absl::ResourceExhaustedError("no locked memory for a key");
  return key;
}

absl::StatusOr<Sealer> Sealer::FromRawKey(std::string_view bytes) {
  TM_RETURN_IF_ERROR(Initialize());
  TM_ASSIGN_OR_RETURN(Key key, MakeKey(""));
  std::copy(bytes.begin(), bytes.end(), key.bytes.get());
  key.id = IdOfKey(key.bytes.get());
  auto keys = std::make_unique<Keys>();
  keys->keys.push_back(std::move(key));
  return Sealer(std::move(keys));
}

absl::StatusOr<Sealer> Sealer::FromKeys(std::string_view text) {
  TM_RETURN_IF_ERROR(Initialize());
  auto keys = std::make_unique<Keys>();
  int number = 0;
  for (absl::string_view line : absl::StrSplit(Abs(text), '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line[0] == '#') continue;
    const auto bad = [number](absl::string_view why) {
      return absl::InvalidArgumentError(absl::StrCat("line ", number, ": ", why));
    };
    const size_t colon = line.find(':');
    const std::string_view id = colon == line.npos ? "" : Std(line.substr(0, colon));
    if (colon != line.npos && !IsKeyId(id)) return bad("an id is 1 to 32 letters, digits, -, _ and dots");
    TM_ASSIGN_OR_RETURN(Key key, MakeKey(id));
    if (!DecodeKey(colon == line.npos ? line : line.substr(colon + 1), key.bytes.get())) {
      return bad("expected id:KEY or KEY, KEY being the base64 or the hexadecimal digits of 32 bytes");
    }
    if (key.id.empty()) key.id = IdOfKey(key.bytes.get());
    if (keys->Find(key.id) != nullptr) return bad("its id is that of a line above");
    sodium_mprotect_readonly(key.bytes.get());
    keys->keys.push_back(std::move(key));
  }
  if (keys->keys.empty()) return absl::InvalidArgumentError("holds no key");
  return Sealer(std::move(keys));
}

absl::StatusOr<Sealer> Sealer::FromKeyFile(const std::string& path) {
  const std::string named = absl::StrCat("key_file ", path);
  // Opening a pipe would wait for its writer.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return absl::ErrnoToStatus(errno, named);
  const absl::Cleanup closer = [fd] { close(fd); };
  struct stat info;
  if (fstat(fd, &info) != 0) return absl::ErrnoToStatus(errno, named);
  if (!S_ISREG(info.st_mode)) return absl::FailedPreconditionError(absl::StrCat(named, ": not a file"));
  WipedString text(kLargestFile + 1);
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t more = read(fd, text.data() + size, text.size() - size);
    if (more < 0 && errno == EINTR) continue;
    if (more < 0) return absl::ErrnoToStatus(errno, named);
    if (more == 0) break;
    size += more;
  }
  if (size > kLargestFile) return absl::InvalidArgumentError(absl::StrCat(named, ": too large for a key file"));
  absl::StatusOr<Sealer> sealer = FromKeys(text.Prefix(size));
  // What a generator of keys writes as it is.
  if (!sealer.ok() && size == kKeySize) return FromRawKey(text.Prefix(size));
  if (sealer.ok()) return sealer;
  return absl::Status(sealer.status().code(), absl::StrCat(named, ": ", sealer.status().message()));
}

std::string Sealer::Seal(std::string_view secret, std::string_view place) const {
  const Key& key = keys_->keys.front();
  const std::string bound = AssociatedData(key.id, place);
  std::string sealed(kNonceSize + secret.size() + kTagSize, '\0');
  unsigned char* const nonce = Bytes(sealed);
  randombytes_buf(nonce, kNonceSize);
  crypto_aead_xchacha20poly1305_ietf_encrypt(nonce + kNonceSize, nullptr, Bytes(secret), secret.size(), Bytes(bound),
                                             bound.size(), nullptr, nonce, key.bytes.get());
  return absl::StrCat(Abs(kPrefix), key.id, ":", ToBase64(nonce, sealed.size(), kBase64));
}

absl::StatusOr<std::string> Sealer::Unseal(std::string_view sealed, std::string_view place) const {
  const auto lost = [place](absl::string_view why) { return absl::DataLossError(absl::StrCat(Abs(place), ": ", why)); };
  SealedParts parts;
  if (!Split(sealed, &parts)) return lost("not a sealed text of this version");
  const Key* const key = keys_->Find(parts.id);
  if (key == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat(Abs(place), ": sealed with the key \"", Abs(parts.id), "\", which is not in key_file"));
  }
  std::string body(parts.body.size(), '\0');
  size_t size = 0;
  // There is one text for each value: the decoder takes some bytes above 127 for others.
  if (sodium_base642bin(Bytes(body), body.size(), parts.body.data(), parts.body.size(), nullptr, &size, nullptr,
                        kBase64) != 0 ||
      size < kNonceSize + kTagSize || ToBase64(Bytes(body), size, kBase64) != parts.body) {
    return lost("the sealed text is damaged");
  }
  const std::string bound = AssociatedData(parts.id, place);
  std::string secret(size - kNonceSize - kTagSize, '\0');
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(Bytes(secret), nullptr, nullptr, Bytes(body) + kNonceSize,
                                                 size - kNonceSize, Bytes(bound), bound.size(), Bytes(body),
                                                 key->bytes.get()) != 0) {
    return lost(absl::StrCat("does not open: altered, sealed for another place, or by another key of the id \"",
                             key->id, "\""));
  }
  return secret;
}

bool Sealer::NeedsReseal(std::string_view sealed) const {
  SealedParts parts;
  return !Split(sealed, &parts) || parts.id != keys_->keys.front().id;
}

bool IsSealed(std::string_view text) { return text.starts_with(kPrefix); }

absl::Status CheckKeyFileMode(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return absl::ErrnoToStatus(errno, absl::StrCat("key_file ", path));
  const mode_t forbidden = info.st_uid == 0 ? 0137 : 0177;
  if ((info.st_mode & forbidden) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrFormat(
      "key_file %s: its mode %04o lets others read or run it; make it 0600", path, info.st_mode & 07777));
}

absl::Status CreateKeyFile(const std::string& path) {
  TM_RETURN_IF_ERROR(Initialize());
  const std::string named = absl::StrCat("key_file ", path);
  std::array<unsigned char, kKeySize> key;
  std::array<unsigned char, 4> id;
  randombytes_buf(key.data(), key.size());
  randombytes_buf(id.data(), id.size());
  std::array<char, 2 * id.size() + 1> hex;
  sodium_bin2hex(hex.data(), hex.size(), id.data(), id.size());
  std::string base64 = ToBase64(key.data(), key.size(), sodium_base64_VARIANT_ORIGINAL);
  std::string line = absl::StrCat("k", hex.data(), ":", base64, "\n");
  const absl::Cleanup wipe = [&] {
    sodium_memzero(key.data(), key.size());
    sodium_memzero(base64.data(), base64.size());
    sodium_memzero(line.data(), line.size());
  };
  // Written aside and linked, which fails if the name is taken: no one ever sees half a file.
  std::string aside = absl::StrCat(path, ".XXXXXX");
  const int fd = mkostemp(aside.data(), O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, named);
  const absl::Cleanup remove = [&] {
    close(fd);
    unlink(aside.c_str());
  };
  if (fchmod(fd, 0600) != 0) return absl::ErrnoToStatus(errno, named);
  if (const absl::Status status = WriteAll(fd, line); !status.ok()) {
    return absl::Status(status.code(), absl::StrCat(named, ": ", status.message()));
  }
  if (link(aside.c_str(), path.c_str()) != 0) {
    if (errno == EEXIST) return absl::AlreadyExistsError(absl::StrCat(named, ": there is a file already"));
    return absl::ErrnoToStatus(errno, named);
  }
  // The name is to outlive a power cut, as what is sealed with the key will.
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const int folder_fd = open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = folder_fd >= 0 && fsync(folder_fd) == 0;
  const absl::Status status = synced ? absl::OkStatus() : absl::ErrnoToStatus(errno, named);
  if (folder_fd >= 0) close(folder_fd);
  return status;
}

}  // namespace tidemark
