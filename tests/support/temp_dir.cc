#include "tests/support/temp_dir.h"

#include <stdlib.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace tidemark::test {

TempDir::TempDir(std::string_view parent) {
  path_ = parent;
  if (path_.empty()) {
    const char* from_environment = getenv("TMPDIR");
    path_ = from_environment != nullptr ? from_environment : "/tmp";
  }
  path_ += "/tidemark-XXXXXX";
  if (mkdtemp(path_.data()) == nullptr) {
    std::perror(path_.c_str());
    abort();
  }
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TempDir::File(std::string_view name) const { return path_ + "/" + std::string(name); }

std::string TempDir::Write(std::string_view name, std::string_view content) const {
  std::string path = File(name);
  std::ofstream out(path, std::ios::binary);
  out << content;
  out.close();
  if (!out) {
    std::perror(path.c_str());
    abort();
  }
  return path;
}

}  // namespace tidemark::test
