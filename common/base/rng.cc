#include "common/base/rng.h"

#include <sys/random.h>

#include "absl/time/clock.h"

namespace tidemark {

uint64_t Rng::EntropySeed() {
  uint64_t seed = 0;
  if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed)) seed = absl::GetCurrentTimeNanos();
  return seed;
}

uint64_t Rng::Next() {
  absl::MutexLock lock(&mutex_);
  uint64_t z = (state_ += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

uint64_t Rng::Below(uint64_t bound) {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(Next()) * bound) >> 64);
}

double Rng::Unit() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }

std::string NewId(absl::Time now, Rng& rng) {
  static constexpr char kDigits[] = "0123456789abcdefghjkmnpqrstvwxyz";
  std::string id(26, '0');
  uint64_t millis = static_cast<uint64_t>(absl::ToUnixMillis(now));
  for (int i = 9; i >= 0; --i, millis >>= 5) id[i] = kDigits[millis & 31];
  uint64_t random = 0;
  for (int i = 10; i < 26; ++i) {
    if ((i - 10) % 8 == 0) random = rng.Next();
    id[i] = kDigits[random & 31];
    random >>= 5;
  }
  return id;
}

}  // namespace tidemark
