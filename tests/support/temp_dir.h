#pragma once

#include <string>
#include <string_view>

namespace tidemark::test {

// A fresh folder of mode 0700 under `parent` (empty: TMPDIR, else /tmp), removed with all it holds at destruction.
// Aborts the test process if it cannot be made.
class TempDir {
 public:
  explicit TempDir(std::string_view parent = "");
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  // path()/name; creates nothing.
  std::string File(std::string_view name) const;
  // Writes a file of this content and returns its path.
  std::string Write(std::string_view name, std::string_view content) const;

 private:
  std::string path_;
};

}  // namespace tidemark::test
