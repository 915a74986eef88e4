#include "tests/support/certificate_authority.h"

#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "tests/support/process.h"

namespace tidemark::test {

CertificateAuthority::CertificateAuthority() : ca_(directory_.File("ca.pem")) {
  Run(absl::StrCat(
      "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test-authority -keyout ",
      directory_.File("ca.key"), " -out ", ca_));
}

CertificateAuthority::Certificate CertificateAuthority::Issue(const std::string& name, const std::string& address) {
  const std::string stem = absl::StrCat("issued", ++issued_);
  Certificate issued = {directory_.File(stem + ".pem"), directory_.File(stem + ".key")};
  const std::string request = directory_.File(stem + ".csr");
  const std::string extensions = directory_.Write(
      stem + ".ext",
      absl::StrCat("subjectAltName=DNS:localhost,IP:127.0.0.1,IP:", address, "\nbasicConstraints=CA:FALSE\n"));
  Run(absl::StrCat("req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /O=Tidemark/CN=", name,
                   " -keyout ", issued.key, " -out ", request));
  Run(absl::StrCat("x509 -req -days 2 -CAcreateserial -CA ", ca_, " -CAkey ", directory_.File("ca.key"), " -in ",
                   request, " -extfile ", extensions, " -out ", issued.cert));
  return issued;
}

void CertificateAuthority::Run(const std::string& arguments) const {
  const auto done = RunProcess({"sh", "-c", absl::StrCat("exec openssl ", arguments)}, absl::Seconds(60));
  if (done.ok() && done->exit_code == 0) return;
  fprintf(stderr, "openssl %s: %s\n", arguments.c_str(),
          done.ok() ? done->err.c_str() : done.status().ToString().c_str());
  std::abort();
}

}  // namespace tidemark::test
