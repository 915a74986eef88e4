#pragma once

#include <map>
#include <set>
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

// What is wrong with a file that users write: all of it, each with its place.
class Diagnostics {
 public:
  // An empty `file`: there is none, and no place in it.
  explicit Diagnostics(std::string file) : file_(std::move(file)) {}

  // `path` is the key's way from the top, "jobs.orders.source"; may be empty. `message` is one line. Both may hold
  // names as they stand in the file: what no terminal should see of them is escaped, and the longest are cut short.
  void Add(Location at, std::string_view path, std::string_view message);
  // The value at `path` is that of an environment variable: its errors name that instead of a place.
  void SetVariable(std::string path, std::string variable) { variables_[std::move(path)] = std::move(variable); }
  // Whether an error was added at `path` itself or at an element of the list there.
  bool Has(std::string_view path) const;
  bool empty() const { return entries_.empty(); }

  // OK, or InvalidArgument with one line "FILE:LINE:COLUMN: PATH: MESSAGE" or "VARIABLE: MESSAGE" for each error, those
  // of variables first, the rest in the file's order.
  absl::Status ToStatus() const;

 private:
  struct Entry {
    Location at;
    std::string path;
    std::string message;
  };
  // The one that gave the value at `path`; null if it stands in the file.
  const std::string* VariableOf(std::string_view path) const;

  std::string file_;
  std::vector<Entry> entries_;
  // The paths of the entries, and of the lists that elements of theirs are in.
  std::set<std::string, std::less<>> wrong_;
  // By path.
  std::map<std::string, std::string, std::less<>> variables_;
};

}  // namespace tidemark
