#include "worker/batch/xxhash_checksum.h"

#include <xxhash.h>

#include <memory>

namespace tidemark {

uint64_t Checksum(std::string_view first, std::string_view second) {
  if (second.empty()) return XXH3_64bits(first.data(), first.size());
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), &XXH3_freeState);
  XXH3_64bits_reset(state.get());
  XXH3_64bits_update(state.get(), first.data(), first.size());
  XXH3_64bits_update(state.get(), second.data(), second.size());
  return XXH3_64bits_digest(state.get());
}

}  // namespace tidemark
