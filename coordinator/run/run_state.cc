#include "coordinator/run/run_state.h"

#include <algorithm>

namespace tidemark::coordinator {

RunRecord& RunDraft::mutable_run() {
  if (!run_changed_) run_ = base_->run;
  run_changed_ = true;
  return run_;
}

const TaskRecord* RunDraft::FindTask(std::string_view id) const {
  if (const auto changed = tasks_.find(id); changed != tasks_.end()) return &changed->second;
  const auto stored = base_->tasks.find(id);
  return stored == base_->tasks.end() ? nullptr : &stored->second;
}

TaskRecord& RunDraft::mutable_task(std::string_view id) {
  if (const auto changed = tasks_.find(id); changed != tasks_.end()) return changed->second;
  return tasks_.emplace(std::string(id), base_->tasks.find(id)->second).first->second;
}

void RunDraft::AddTask(TaskRecord task) {
  std::string id = task.id;
  tasks_.insert_or_assign(std::move(id), std::move(task));
}

std::vector<const TaskRecord*> RunDraft::Tasks() const {
  std::vector<const TaskRecord*> all;
  all.reserve(base_->tasks.size() + tasks_.size());
  for (const auto& [id, task] : base_->tasks) {
    if (!tasks_.contains(id)) all.push_back(&task);
  }
  for (const auto& [id, task] : tasks_) all.push_back(&task);
  std::sort(all.begin(), all.end(), [](const TaskRecord* a, const TaskRecord* b) { return a->id < b->id; });
  return all;
}

void RunDraft::AddTo(WriteBatch& batch) const {
  if (base_->preview) return;
  if (run_changed_) batch.runs.push_back(run_);
  for (const auto& [id, task] : tasks_) batch.tasks.push_back(task);
}

void RunDraft::Publish(absl::Duration now) {
  if (run_changed_) {
    if (run_.phase != base_->run.phase) base_->phase_since = now;
    base_->run = std::move(run_);
    ++base_->run.revision;
    run_changed_ = false;
  }
  for (auto& [id, task] : tasks_) {
    ++task.revision;
    if (task.state != TaskState::kLeased) base_->progress.erase(id);
    if (task.state == TaskState::kQueued) {
      base_->queued_since.insert_or_assign(id, now);
    } else {
      base_->queued_since.erase(id);
    }
    base_->tasks.insert_or_assign(id, std::move(task));
  }
  tasks_.clear();
  for (LeasedAttempt& attempt : drained_) base_->draining.insert(std::move(attempt));
  drained_.clear();
}

std::vector<const TaskRecord*> CurrentTasks(const RunDraft& draft, v1::TaskKind kind) {
  std::vector<const TaskRecord*> current = draft.Tasks();
  std::erase_if(current,
                [&](const TaskRecord* task) { return task->kind != kind || task->state == TaskState::kCancelled; });
  if (kind == v1::TASK_KIND_MOVE) {
    std::sort(current.begin(), current.end(),
              [](const TaskRecord* a, const TaskRecord* b) { return a->partition < b->partition; });
  }
  return current;
}

int CountTasks(const RunDraft& draft, v1::TaskKind kind) {
  const std::vector<const TaskRecord*> all = draft.Tasks();
  return static_cast<int>(std::count_if(all.begin(), all.end(), [&](const TaskRecord* t) { return t->kind == kind; }));
}

bool Ended(RunPhase phase) {
  switch (phase) {
    case RunPhase::kDone:
    case RunPhase::kFailed:
    case RunPhase::kCancelled:
    case RunPhase::kSuperseded:
    case RunPhase::kSkipped:
      return true;
    default:
      return false;
  }
}

bool NeedsSnapshot(const RunRecord& run) {
  if (run.spec.source().watermark().empty()) return true;
  switch (run.window.kind()) {
    case v1::WINDOW_KIND_FULL:
      return true;
    case v1::WINDOW_KIND_RANGE:
      return false;
    default:
      return !run.window.has_low();
  }
}

bool InSnapshot(const RunRecord& run) {
  return NeedsSnapshot(run) && run.description.has_value() && run.description->has_snapshot();
}

bool ReadsSource(v1::TaskKind kind) {
  return kind == v1::TASK_KIND_DESCRIBE || kind == v1::TASK_KIND_MOVE || kind == v1::TASK_KIND_HORIZON ||
         kind == v1::TASK_KIND_READ_POINT || kind == v1::TASK_KIND_TEST;
}

bool Reading(const RunState& state, const TaskRecord& task) {
  if (task.state != TaskState::kLeased) return false;
  const auto progress = state.progress.find(task.id);
  return progress == state.progress.end() || progress->second.attempt() != task.attempt ||
         !progress->second.extracted();
}

}  // namespace tidemark::coordinator
