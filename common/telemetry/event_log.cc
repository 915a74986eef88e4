#include "common/telemetry/event_log.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/base/printable.h"

namespace tidemark {

void EventLog::Write(std::string_view event) {
  const std::string line = absl::StrCat(absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", clock_->Now(), absl::UTCTimeZone()),
                                        " ", Printable(event), "\n");
  absl::MutexLock lock(&mutex_);
  fwrite(line.data(), 1, line.size(), file_);
  fflush(file_);
}

}  // namespace tidemark
