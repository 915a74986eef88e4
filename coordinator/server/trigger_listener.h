#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include "coordinator/run/coordinator.h"
#include "coordinator/store/metadata_store.h"

namespace tidemark::coordinator {

// The thread that hears of triggers in the store and has the coordinator take them up: at once where the store tells of
// them, and every half minute besides, since a pooler may swallow what it tells.
class TriggerListener {
 public:
  // Both must outlive it. `log` may be empty.
  TriggerListener(Coordinator* coordinator, MetadataStore* store, std::function<void(const std::string& line)> log);
  ~TriggerListener();
  TriggerListener(const TriggerListener&) = delete;
  TriggerListener& operator=(const TriggerListener&) = delete;

 private:
  void Run();

  Coordinator* const coordinator_;
  MetadataStore* const store_;
  const std::function<void(const std::string& line)> log_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace tidemark::coordinator
