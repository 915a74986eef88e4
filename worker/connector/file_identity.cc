#include "worker/connector/file_identity.h"

#include <sys/stat.h>

#include "absl/strings/str_cat.h"

namespace tidemark {

std::string FileIdentity(const std::string& path) {
  struct stat about;
  if (stat(path.c_str(), &about) != 0) return "";
  return absl::StrCat("file ", about.st_dev, ":", about.st_ino);
}

}  // namespace tidemark
