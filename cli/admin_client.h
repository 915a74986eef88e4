#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/command_line.h"
#include "common/base/status_macros.h"
#include "google/protobuf/empty.pb.h"
#include "tidemark/v1/cluster.pb.h"
#include "tidemark/v1/connection.pb.h"
#include "tidemark/v1/job.pb.h"
#include "tidemark/v1/run.pb.h"

namespace tidemark::cli {

// A client of the admin services: the request says which method is called. Errors are the server's; Unavailable and
// DeadlineExceeded name the server that did not answer. Not thread-safe.
class AdminClient {
 public:
  // For a call that a person waits for.
  static constexpr absl::Duration kPatience = absl::Seconds(30);

  // Connects at the first call. Each call may take `timeout`. InvalidArgument: an address that is none, or TLS files
  // that cannot be read.
  static absl::StatusOr<std::unique_ptr<AdminClient>> Connect(const ServerOptions& server, absl::Duration timeout);
  ~AdminClient();

  absl::StatusOr<v1::Job> Call(const v1::GetJobRequest& request);
  absl::StatusOr<v1::ListJobsResponse> Call(const v1::ListJobsRequest& request);
  absl::StatusOr<v1::Job> Call(const v1::UpdateJobRequest& request);
  absl::StatusOr<google::protobuf::Empty> Call(const v1::DeleteJobRequest& request);
  absl::StatusOr<v1::Job> Call(const v1::PauseJobRequest& request);
  absl::StatusOr<v1::Job> Call(const v1::ResumeJobRequest& request);
  absl::StatusOr<v1::Job> Call(const v1::AdoptJobRequest& request);
  absl::StatusOr<v1::Run> Call(const v1::RunJobRequest& request);
  absl::StatusOr<v1::Run> Call(const v1::BackfillJobRequest& request);

  absl::StatusOr<v1::Run> Call(const v1::GetRunRequest& request);
  absl::StatusOr<v1::ListRunsResponse> Call(const v1::ListRunsRequest& request);
  absl::StatusOr<v1::Run> Call(const v1::CancelRunRequest& request);
  absl::StatusOr<v1::Run> Call(const v1::RetryRunRequest& request);
  absl::StatusOr<v1::Run> Call(const v1::ReplayLoadRequest& request);

  absl::StatusOr<v1::Connection> Call(const v1::GetConnectionRequest& request);
  absl::StatusOr<v1::ListConnectionsResponse> Call(const v1::ListConnectionsRequest& request);
  absl::StatusOr<v1::Connection> Call(const v1::UpdateConnectionRequest& request);
  // A worker has to reach the server first: may take twice the timeout.
  absl::StatusOr<v1::TestConnectionResponse> Call(const v1::TestConnectionRequest& request);

  absl::StatusOr<v1::ClusterStatus> Call(const v1::GetStatusRequest& request);
  absl::StatusOr<v1::ListWorkersResponse> Call(const v1::ListWorkersRequest& request);
  absl::StatusOr<v1::Worker> Call(const v1::DrainWorkerRequest& request);

  // Calls `beat` with the run as it is and at each change, and with nullptr about ten times a second meanwhile, until
  // the stream ends (OK) or fails, or `beat` returns false (Cancelled). A stream that has lasted a minute ends with
  // DeadlineExceeded, so that a server that died without a word is noticed. `again`: waits a second before, and then
  // for a server to come back, as long as the call may take.
  absl::Status WatchRun(const v1::WatchRunRequest& request, bool again,
                        const std::function<bool(const v1::WatchRunResponse*)>& beat);

 private:
  struct Services;
  explicit AdminClient(std::unique_ptr<Services> services);

  const std::unique_ptr<Services> services_;
};

// What a list holds, page by page, at most `limit` of it (0: all); `items` is the response's field.
template <typename Item, typename Request, typename Response>
absl::StatusOr<std::vector<Item>> ListAll(AdminClient& client, Request request,
                                          const google::protobuf::RepeatedPtrField<Item>& (Response::*items)() const,
                                          int limit = 0) {
  constexpr int kLargestPage = 1000;
  std::vector<Item> all;
  while (true) {
    const int left = limit - static_cast<int>(all.size());
    request.set_page_size(limit == 0 || left > kLargestPage ? kLargestPage : left);
    TM_ASSIGN_OR_RETURN(const Response page, client.Call(request));
    for (const Item& item : (page.*items)()) {
      all.push_back(item);
      if (limit != 0 && static_cast<int>(all.size()) == limit) return all;
    }
    if (page.next_page_token().empty()) return all;
    request.set_page_token(page.next_page_token());
  }
}

}  // namespace tidemark::cli
