#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace tidemark {

// A place in a file, counted from 1.
struct Location {
  int line = 1;
  int column = 1;
};

// What is wrong with a project file: all of it, each with its place.
class Diagnostics {
 public:
  explicit Diagnostics(std::string file) : file_(std::move(file)) {}

  // `path` is the key's way from the top, "jobs.orders.source"; may be empty. `message` is one line. Both may hold
  // names as they stand in the file: what no terminal should see of them is escaped, and the longest are cut short.
  void Add(Location at, std::string_view path, std::string_view message);
  // Whether an error was added at `path` itself or at an element of the list there.
  bool Has(std::string_view path) const;
  bool empty() const { return entries_.empty(); }

  // OK, or InvalidArgument with one line "FILE:LINE:COLUMN: PATH: MESSAGE" for each error, in the file's order.
  absl::Status ToStatus() const;

 private:
  struct Entry {
    Location at;
    std::string path;
    std::string message;
  };
  std::string file_;
  std::vector<Entry> entries_;
};

}  // namespace tidemark
