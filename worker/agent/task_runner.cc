#include "worker/agent/task_runner.h"

#include <new>
#include <thread>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/printable.h"
#include "common/base/status_macros.h"
#include "common/model/duration.h"
#include "common/model/source_settings.h"
#include "common/model/timestamp.h"
#include "worker/task/abort.h"
#include "worker/task/commit.h"
#include "worker/task/describe.h"
#include "worker/task/horizon.h"
#include "worker/task/probe.h"
#include "worker/task/read_point.h"
#include "worker/task/task_error.h"
#include "worker/task/task_identity.h"
#include "worker/task/test_connection.h"

namespace tidemark {
namespace {

// How often a reader that was asked to stop is asked again.
constexpr absl::Duration kAskAgain = absl::Milliseconds(50);
// Of an error: it may quote names and values of any length, and goes into the store and onto terminals.
constexpr size_t kLongestMessage = 4000;

// What a step returns, or the error that stands for memory that could not be had: the task fails, not the process.
template <class Function>
std::invoke_result_t<Function> OrOutOfMemory(Function&& step) {
  try {
    return step();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        "the worker's memory does not suffice: give it more, run fewer tasks at once, or leave out the largest values");
  }
}

}  // namespace

TaskRunner::TaskRunner(v1::Task task, Environment environment)
    : task_(std::move(task)), environment_(std::move(environment)) {}

v1::CompleteTaskRequest TaskRunner::Run() {
  v1::CompleteTaskRequest outcome;
  outcome.set_task_id(task_.task_id());
  outcome.set_attempt(task_.attempt());
  absl::Status status = OrOutOfMemory([&] { return RunInto(outcome); });
  ReturnSource(/*keep=*/false);
  target_.Take().reset();
  if (!status.ok()) {
    *outcome.mutable_error() = ToTaskError(Explain(std::move(status)), task_);
    if (environment_.redact) outcome.mutable_error()->set_message(environment_.redact(outcome.error().message()));
    // Only now: a secret cut in two would not be known any more.
    outcome.mutable_error()->set_message(Elided(outcome.error().message(), kLongestMessage));
  }
  *outcome.mutable_finished() = ToProto(environment_.clock->Now());
  return outcome;
}

absl::Status TaskRunner::ResolveConnections() {
  source_connection_ = task_.source();
  target_connection_ = task_.target();
  if (!environment_.resolve_dsn) return absl::OkStatus();
  for (v1::ConnectionSpec* connection : {&source_connection_, &target_connection_}) {
    // A task that has no use for one may come without it.
    if (connection->dsn().empty()) continue;
    auto dsn = environment_.resolve_dsn(connection->dsn());
    if (!dsn.ok()) {
      return absl::Status(dsn.status().code(),
                          absl::StrCat("the dsn of connection ", connection->name(), ": ", dsn.status().message()));
    }
    connection->set_dsn(*std::move(dsn));
  }
  return absl::OkStatus();
}

absl::Status TaskRunner::RunInto(v1::CompleteTaskRequest& outcome) {
  TM_RETURN_IF_ERROR(ResolveConnections());
  switch (task_.work_case()) {
    case v1::Task::kDescribe: {
      TM_ASSIGN_OR_RETURN(*outcome.mutable_describe(), RunDescribe());
      return absl::OkStatus();
    }
    case v1::Task::kMove: {
      TM_ASSIGN_OR_RETURN(*outcome.mutable_move(), RunMove());
      return absl::OkStatus();
    }
    case v1::Task::kHorizon: {
      TM_ASSIGN_OR_RETURN(*outcome.mutable_horizon(), RunHorizon());
      return absl::OkStatus();
    }
    case v1::Task::kCommit: {
      TM_ASSIGN_OR_RETURN(*outcome.mutable_commit(), OnTarget(&Commit));
      return absl::OkStatus();
    }
    case v1::Task::kProbe: {
      TM_ASSIGN_OR_RETURN(*outcome.mutable_probe(), OnTarget(&Probe));
      return absl::OkStatus();
    }
    case v1::Task::kAbort: {
      TM_ASSIGN_OR_RETURN(*outcome.mutable_abort(), OnTarget(&Abort));
      return absl::OkStatus();
    }
    case v1::Task::kReadPoint: {
      TM_ASSIGN_OR_RETURN(*outcome.mutable_read_point(), RunReadPoint());
      return absl::OkStatus();
    }
    case v1::Task::kTest: {
      TM_ASSIGN_OR_RETURN(*outcome.mutable_test(), RunTest());
      return absl::OkStatus();
    }
    case v1::Task::WORK_NOT_SET:
      break;
  }
  return absl::UnimplementedError("this worker is too old for this kind of task: upgrade it");
}

template <class Result>
absl::StatusOr<Result> TaskRunner::OnTarget(absl::StatusOr<Result> (*run)(const v1::Task&, TargetSession&)) {
  TM_ASSIGN_OR_RETURN(std::unique_ptr<TargetSession> target, OpenTarget());
  TM_RETURN_IF_ERROR(target_.Put(std::move(target)));
  auto result = run(task_, *target_.get());
  target_.Take().reset();
  return result;
}

absl::StatusOr<v1::DescribeResult> TaskRunner::RunDescribe() {
  // The target first: one that is down costs the source nothing.
  TM_ASSIGN_OR_RETURN(std::unique_ptr<TargetSession> target, OpenTarget());
  TM_RETURN_IF_ERROR(target_.Put(std::move(target)));
  TM_RETURN_IF_ERROR(OpenSource());
  auto result = Describe(task_, *source_.get(), *target_.get());
  target_.Take().reset();
  ReturnSource(result.ok() && result->has_snapshot() && task_.session().keep());
  return result;
}

absl::StatusOr<v1::HorizonResult> TaskRunner::RunHorizon() {
  TM_RETURN_IF_ERROR(OpenSource());
  auto result = ProbeHorizon(task_, *source_.get());
  ReturnSource(result.ok() && task_.session().keep());
  return result;
}

absl::StatusOr<v1::ReadPoint> TaskRunner::RunReadPoint() {
  TM_RETURN_IF_ERROR(OpenSource());
  auto point = FixReadPoint(task_, *source_.get());
  ReturnSource(/*keep=*/false);
  return point;
}

absl::StatusOr<v1::TestResult> TaskRunner::RunTest() {
  TM_ASSIGN_OR_RETURN(Connector * connector, environment_.connectors->Find(source_connection_.dsn()));
  auto result = TestConnection(source_connection_, *connector, {ApplicationNameOf(task_), environment_.connect_timeout},
                               *environment_.clock);
  // The connection it opened for itself was the grant's, and is closed.
  ReturnSource(/*keep=*/false);
  return result;
}

absl::StatusOr<v1::MoveResult> TaskRunner::RunMove() {
  SpillOptions options;
  options.directory = environment_.spill_dir;
  options.name = absl::StrCat(task_.task_id(), "-", task_.attempt());
  options.run_id = task_.run_id();
  options.partition = task_.move().partition();
  options.memory_share = environment_.task_memory_bytes;
  TM_ASSIGN_OR_RETURN(std::shared_ptr<Spill> spill, OpenSpill(std::move(options), environment_.budget));
  {
    absl::MutexLock lock(&mutex_);
    if (cancelled_) spill->Cancel();
    spill_ = spill;
  }
  absl::Duration extract_time;
  std::thread extractor([&] {
    extract_time = Extract(*spill);
    absl::MutexLock lock(&mutex_);
    extract_over_ = true;
  });
  auto result = Load(*spill);
  // Without a load there is nothing to read for.
  for (bool over = result.ok(); !over;) {
    spill->Cancel();
    InterruptSource();
    absl::MutexLock lock(&mutex_);
    over = mutex_.AwaitWithTimeout(absl::Condition(&extract_over_), kAskAgain);
  }
  extractor.join();
  absl::MutexLock lock(&mutex_);
  spill_.reset();
  if (result.ok()) *result->mutable_extract_time() = ToProto(extract_time);
  return result;
}

absl::Duration TaskRunner::Extract(Spill& spill) {
  if (absl::Status opened = OrOutOfMemory([&] { return OpenSource(); }); !opened.ok()) {
    ReturnSource(/*keep=*/false);
    spill.Finish(std::move(opened));
    return absl::ZeroDuration();
  }
  MoveExtract extract(task_.move(), MaxLag(task_.source()), source_.get(), &spill, environment_.rate,
                      environment_.clock, &progress_);
  while (true) {
    if (reading_stopped()) {
      extract.Fail(absl::CancelledError("the extract was stopped"));
      break;
    }
    const auto step = OrOutOfMemory([&] { return extract.Run(); });
    // The load has heard of it already, unless it was for want of memory.
    if (!step.ok()) {
      extract.Fail(step.status());
      break;
    }
    if (step->kind == Step::Kind::kDone) {
      ReturnSource(task_.session().keep());
      break;
    }
    if (step->kind == Step::Kind::kWait) Sleep(step->wait, /*reader=*/true);
  }
  ReturnSource(/*keep=*/false);
  return extract.elapsed();
}

absl::StatusOr<v1::MoveResult> TaskRunner::Load(Spill& spill) {
  MoveLoad load(
      task_, [this] { return OpenTarget(); }, &target_, &spill, environment_.clock, environment_.rng, &progress_);
  while (true) {
    TM_ASSIGN_OR_RETURN(const Step step, OrOutOfMemory([&] { return load.Run(); }));
    if (step.kind == Step::Kind::kDone) return load.result();
    if (step.kind == Step::Kind::kWait) Sleep(step.wait, /*reader=*/false);
    if (step.kind == Step::Kind::kBlocked) spill.AwaitReadable();
    absl::MutexLock lock(&mutex_);
    if (cancelled_) return absl::CancelledError("the task was cancelled");
  }
}

absl::Status TaskRunner::OpenSource() {
  const v1::SessionGrant& grant = task_.session();
  if (std::unique_ptr<SourceSession> held = environment_.sessions->Borrow(grant.session_id()); held != nullptr) {
    return source_.Put(std::move(held));
  }
  if (task_.has_move() && task_.move().in_snapshot() && grant.import_snapshot().empty()) {
    return FromSource(
        absl::DataLossError("the session that holds the run's snapshot is gone, and it cannot be imported"));
  }
  TM_ASSIGN_OR_RETURN(Connector * connector, environment_.connectors->Find(source_connection_.dsn()));
  auto session =
      connector->OpenSource(source_connection_, task_.job(), {ApplicationNameOf(task_), environment_.connect_timeout});
  if (!session.ok()) return FromSource(session.status());
  TM_RETURN_IF_ERROR(source_.Put(*std::move(session)));
  if (grant.import_snapshot().empty()) return absl::OkStatus();
  return FromSource(source_.get()->ImportSnapshot(grant.import_snapshot()));
}

void TaskRunner::ReturnSource(bool keep) {
  if (!task_.has_session()) return;
  std::unique_ptr<SourceSession> session;
  {
    absl::MutexLock lock(&mutex_);
    if (source_returned_) return;
    source_returned_ = true;
    // A request to cancel may still be on its way to the server, and would hit whoever reads next.
    keep = keep && !cancelled_ && !interrupted_;
    // Under the lock: who asks from now on finds no session to cancel. One cancelled is cancelled for good.
    session = source_.Take();
  }
  if (!keep) session.reset();
  environment_.sessions->Return(task_.session().session_id(), std::move(session), keep);
}

absl::StatusOr<std::unique_ptr<TargetSession>> TaskRunner::OpenTarget() {
  TM_ASSIGN_OR_RETURN(Connector * connector, environment_.connectors->Find(target_connection_.dsn()));
  return connector->OpenTarget(target_connection_, task_.job(),
                               {ApplicationNameOf(task_), environment_.connect_timeout});
}

void TaskRunner::Cancel() {
  std::shared_ptr<Spill> spill;
  {
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
    spill = spill_;
  }
  if (spill != nullptr) spill->Cancel();
  source_.Cancel();
  target_.Cancel();
}

void TaskRunner::InterruptSource() {
  {
    absl::MutexLock lock(&mutex_);
    if (source_returned_) return;
    interrupted_ = true;
  }
  source_.Cancel();
}

bool TaskRunner::reading_stopped() const {
  absl::MutexLock lock(&mutex_);
  return cancelled_ || interrupted_;
}

void TaskRunner::Sleep(absl::Duration duration, bool reader) {
  const auto stopped = [&] {
    mutex_.AssertReaderHeld();
    return cancelled_ || (reader && interrupted_);
  };
  absl::MutexLock lock(&mutex_);
  mutex_.AwaitWithTimeout(absl::Condition(&stopped), duration);
}

absl::Status TaskRunner::Explain(absl::Status error) const {
  absl::MutexLock lock(&mutex_);
  // Whether a COMMIT took place is worth more than why its task ended.
  if (absl::IsUnknown(error)) return error;
  if (cancelled_) return absl::CancelledError("cancelled");
  if (!absl::IsCancelled(error)) return error;
  if (interrupted_) {
    return absl::UnavailableError(
        "its source session was closed: the coordinator wanted it, or was not heard of in time");
  }
  return absl::AbortedError(absl::StrCat("the server cancelled it: ", error.message()));
}

v1::TaskProgress TaskRunner::progress() const {
  v1::TaskProgress progress;
  progress.set_task_id(task_.task_id());
  progress.set_attempt(task_.attempt());
  progress.set_rows_read(progress_.rows_read);
  progress.set_rows_loaded(progress_.rows_loaded);
  progress.set_bytes_read(progress_.bytes_read);
  progress.set_extracted(progress_.extracted);
  return progress;
}

int64_t TaskRunner::spilled_bytes() const {
  absl::MutexLock lock(&mutex_);
  return spill_ == nullptr ? 0 : spill_->spilled_bytes();
}

}  // namespace tidemark
