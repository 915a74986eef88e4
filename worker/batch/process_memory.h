#pragma once

#include <cstdint>

namespace tidemark {

// Makes the allocator give buffers of a chunk's size back to the system the moment they are freed, so that resident
// memory follows the budget. Left alone, glibc raises its threshold for mapped blocks to the largest one ever freed and
// keeps such blocks in its arenas. For the whole process; call it before Arrow is first used, in main or so. Cheap to
// repeat.
void ReturnLargeBuffersAtOnce();

// Resident memory of this process; 0 where the system does not tell.
int64_t ResidentBytes();

}  // namespace tidemark
