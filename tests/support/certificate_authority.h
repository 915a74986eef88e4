#pragma once

#include <string>

#include "tests/support/temp_dir.h"

namespace tidemark::test {

// A certificate authority of one test, in a temporary folder. Aborts the test process where the program openssl fails.
class CertificateAuthority {
 public:
  struct Certificate {
    // Paths of PEM files.
    std::string cert;
    std::string key;
  };

  CertificateAuthority();

  // Path of its own certificate.
  const std::string& ca() const { return ca_; }
  // A fresh certificate for /O=Tidemark/CN=`name`, good for clients and for servers on localhost, 127.0.0.1 and
  // `address`.
  Certificate Issue(const std::string& name, const std::string& address = "127.0.0.1");

 private:
  void Run(const std::string& arguments) const;

  TempDir directory_;
  std::string ca_;
  int issued_ = 0;
};

}  // namespace tidemark::test
