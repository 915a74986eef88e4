#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "common/rpc/tls_files.h"

namespace tidemark {
namespace {

struct Free {
  void operator()(FILE* file) const { fclose(file); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

// What `read` finds in the file; `what` names it.
template <class T, class Read>
absl::StatusOr<Owned<T>> ReadPem(const std::string& path, std::string_view what, const Read& read) {
  const Owned<FILE> file(fopen(path.c_str(), "re"));
  if (file == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": cannot be read: ", strerror(errno)));
  }
  ERR_clear_error();
  Owned<T> found(read(file.get()));
  ERR_clear_error();
  if (found == nullptr) return absl::InvalidArgumentError(absl::StrCat(path, ": holds no ", Abs(what), " in PEM form"));
  return found;
}

absl::StatusOr<Owned<X509>> ReadCertificate(const std::string& path) {
  return ReadPem<X509>(path, "certificate", [](FILE* file) { return PEM_read_X509(file, nullptr, nullptr, nullptr); });
}

// A key with a passphrase is one that nobody is there to unlock.
int NoPassphrase(char*, int, int, void*) { return -1; }

}  // namespace

absl::Status CheckTlsFiles(const TlsFiles& files) {
  if (files.cert.empty() != files.key.empty()) {
    return absl::InvalidArgumentError(files.cert.empty() ? "TLS has a key and no certificate"
                                                         : "TLS has a certificate and no key");
  }
  if (!files.cert.empty()) {
    TM_ASSIGN_OR_RETURN(const Owned<X509> certificate, ReadCertificate(files.cert));
    TM_ASSIGN_OR_RETURN(const Owned<EVP_PKEY> key,
                        ReadPem<EVP_PKEY>(files.key, "private key without a passphrase", [](FILE* file) {
                          return PEM_read_PrivateKey(file, nullptr, &NoPassphrase, nullptr);
                        }));
    const bool matches = X509_check_private_key(certificate.get(), key.get()) == 1;
    ERR_clear_error();
    if (!matches) {
      return absl::InvalidArgumentError(absl::StrCat(files.key, ": is not the key of the certificate ", files.cert));
    }
  }
  if (!files.ca.empty()) TM_RETURN_IF_ERROR(ReadCertificate(files.ca).status());
  return absl::OkStatus();
}

}  // namespace tidemark
