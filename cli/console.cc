#include "cli/console.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/base/printable.h"

namespace tidemark::cli {
namespace {

constexpr char kClearLine[] = "\r\x1b[K";

constexpr std::string_view kGreen = "\x1b[32m";
constexpr std::string_view kRed = "\x1b[31m";
constexpr std::string_view kYellow = "\x1b[33m";
constexpr size_t kColourLength = kGreen.size();
constexpr std::string_view kPlain = "\x1b[0m";

// Where the next of Paint's own codes stands; npos if there is none.
size_t FindColour(std::string_view text) {
  size_t at = text.npos;
  for (const std::string_view code : {kGreen, kRed, kYellow, kPlain}) at = std::min(at, text.find(code));
  return at;
}

// 0, or errno.
int Write(FILE* stream, std::string_view text) {
  errno = 0;
  const bool written = fwrite(text.data(), 1, text.size(), stream) == text.size();
  if (fflush(stream) == 0 && written) return 0;
  const int error = errno;
  clearerr(stream);
  return error == 0 ? EIO : error;
}

}  // namespace

void Console::PrepareStreams() {
  signal(SIGPIPE, SIG_IGN);
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    // Open for reading: what is written to it still fails, as it would have.
    if (fcntl(stream, F_GETFD) == -1 && errno == EBADF) (void)!open("/dev/null", O_RDONLY);
  }
}

Console::Options Console::Detect() {
  Options options;
  const char* term = getenv("TERM");
  const bool dumb = term == nullptr || std::string_view(term) == "dumb";
  const char* no_color = getenv("NO_COLOR");
  options.out_is_terminal = isatty(STDOUT_FILENO) == 1;
  options.err_is_terminal = isatty(STDERR_FILENO) == 1 && !dumb;
  options.color = options.out_is_terminal && !dumb && (no_color == nullptr || *no_color == '\0');
  winsize size = {};
  for (const int stream : {STDOUT_FILENO, STDERR_FILENO}) {
    if (ioctl(stream, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) options.columns = size.ws_col;
  }
  return options;
}

void Console::Data(std::string_view text) {
  const std::string safe = redactor_.Redact(text);
  absl::MutexLock lock(&mutex_);
  if (bar_shown_) Write(err_, kClearLine);
  bar_shown_ = false;
  const int error = Write(out_, safe);
  if (data_error_ == 0 && error != EPIPE) data_error_ = error;
}

int Console::data_error() const {
  absl::MutexLock lock(&mutex_);
  return data_error_;
}

void Console::Text(std::string_view raw) {
  // Before anything in it is spelled in another way.
  const std::string redacted = redactor_.Redact(raw);
  std::string_view text = redacted;
  std::string shown;
  while (!text.empty()) {
    const size_t colour = options_.color ? FindColour(text) : text.npos;
    shown += PrintableLines(text.substr(0, colour));
    text.remove_prefix(std::min(colour, text.size()));
    const size_t length = text.starts_with(kPlain) ? kPlain.size() : std::min(kColourLength, text.size());
    shown.append(text.substr(0, length));
    text.remove_prefix(length);
  }
  Data(shown);
}

void Console::Say(std::string_view line) {
  const std::string safe = PrintableLines(redactor_.Redact(line));
  absl::MutexLock lock(&mutex_);
  Write(err_, absl::StrCat(bar_shown_ ? kClearLine : "", safe, safe.ends_with('\n') ? "" : "\n"));
  bar_shown_ = false;
}

void Console::ShowBar(std::string_view bar) {
  if (!options_.err_is_terminal) return;
  absl::MutexLock lock(&mutex_);
  if (bar.empty() && !bar_shown_) return;
  Write(err_, absl::StrCat(kClearLine, Abs(bar)));
  bar_shown_ = !bar.empty();
}

std::string Console::Paint(std::string_view text, Color color) const {
  if (!options_.color) return std::string(text);
  const std::string_view code = color == Color::kGreen ? kGreen : color == Color::kRed ? kRed : kYellow;
  return absl::StrCat(Abs(code), Abs(text), Abs(kPlain));
}

}  // namespace tidemark::cli
