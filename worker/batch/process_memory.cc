#include "worker/batch/process_memory.h"

#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <mutex>

namespace tidemark {

void ReturnLargeBuffersAtOnce() {
  static std::once_flag once;
  std::call_once(once, [] {
    mallopt(M_MMAP_THRESHOLD, 256 << 10);
    mallopt(M_TRIM_THRESHOLD, 1 << 20);
    // Arrow's own allocators keep what is freed; its `system` one is malloc. It looks at this when it first allocates.
    setenv("ARROW_DEFAULT_MEMORY_POOL", "system", /*overwrite=*/0);
  });
}

int64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t size_pages = 0;
  int64_t resident_pages = 0;
  if (!(statm >> size_pages >> resident_pages)) return 0;
  return resident_pages * sysconf(_SC_PAGESIZE);
}

}  // namespace tidemark
