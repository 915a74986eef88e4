#include "coordinator/cache/circuit_breaker.h"

namespace tidemark::coordinator {

bool CircuitBreaker::Allow(absl::Duration now) {
  if (!open()) return true;
  if (probing_ || now < probe_at_) return false;
  probing_ = true;
  return true;
}

void CircuitBreaker::Succeeded() {
  failures_ = 0;
  probing_ = false;
}

void CircuitBreaker::Failed(absl::Duration now) {
  if (failures_ < limit_) ++failures_;
  probing_ = false;
  probe_at_ = now + pause_;
}

}  // namespace tidemark::coordinator
