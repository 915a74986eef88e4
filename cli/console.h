#pragma once

#include <cstdio>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/secret/redactor.h"

namespace tidemark::cli {

// The terminal: data goes to stdout, talk to stderr, and no secret that `redactor` knows to either. A progress bar, if
// one is shown, stays below the talk. Thread-safe.
class Console {
 public:
  struct Options {
    bool out_is_terminal = false;
    bool err_is_terminal = false;
    bool color = false;
    int columns = 80;
  };

  // First of all in main: a reader that goes away ends no run, and no file that is opened later takes the place of a
  // stream that was closed before the start.
  static void PrepareStreams();

  // What the environment says: NO_COLOR, TERM=dumb, and what stdout and stderr are.
  static Options Detect();

  // The streams must outlive the console.
  Console(FILE* out, FILE* err, Options options) : options_(options), out_(out), err_(err) {}

  // For programs: as it is.
  void Data(std::string_view text);
  // For people: what could command a terminal is escaped, but for Paint's own colours.
  void Text(std::string_view text);
  // One line, or several; escaped like Text.
  void Say(std::string_view line);
  // Replaces the bar; empty: takes it away. Nothing off a terminal.
  void ShowBar(std::string_view bar);
  bool shows_bar() const { return options_.err_is_terminal; }
  int columns() const { return options_.columns; }
  // What data may fill; 0: it goes to no terminal.
  int data_columns() const { return options_.out_is_terminal ? options_.columns : 0; }

  // For what is printed as data: "green", "red" or "yellow" where stdout shows colours, else the text alone.
  enum class Color { kGreen, kRed, kYellow };
  std::string Paint(std::string_view text, Color color) const;

  Redactor& redactor() { return redactor_; }

  // What kept data from being written, as errno has it; 0 if nothing did. A reader that went away has all it wanted.
  int data_error() const;

 private:
  const Options options_;
  Redactor redactor_;
  mutable absl::Mutex mutex_;
  FILE* const out_ ABSL_PT_GUARDED_BY(mutex_);
  FILE* const err_ ABSL_PT_GUARDED_BY(mutex_);
  bool bar_shown_ ABSL_GUARDED_BY(mutex_) = false;
  int data_error_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace tidemark::cli
