#include "coordinator/store/message_json.h"

#include <memory>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "google/protobuf/util/json_util.h"
#include "tidemark/v1/spec.pb.h"
#include "tidemark/v1/values.pb.h"

namespace tidemark::coordinator {
namespace {

// For some ten thousand jobs.
constexpr size_t kMemoBytes = size_t{64} << 20;
// What is this small is mostly one of a few values.
constexpr size_t kSmallMessage = 8;
constexpr size_t kSmallText = 64;

// Pairs of a message's wire format and its JSON, of one type of message.
class Memo {
 public:
  // Empty if it knows none: no message is "".
  std::string JsonOf(const std::string& wire) const {
    absl::MutexLock lock(&mutex_);
    const auto pair = by_wire_.find(wire);
    return pair == by_wire_.end() ? "" : pair->second->json;
  }
  // Parses what it knows; false if it knows nothing.
  bool Parse(const std::string& json, google::protobuf::Message* message) const {
    absl::MutexLock lock(&mutex_);
    const auto pair = by_json_.find(json);
    return pair != by_json_.end() && message->ParseFromString(pair->second->wire);
  }
  void Add(std::string wire, std::string json) {
    absl::MutexLock lock(&mutex_);
    if (by_wire_.find(wire) != by_wire_.end() && by_json_.find(json) != by_json_.end()) return;
    bytes_ += wire.size() + json.size();
    if (bytes_ > kMemoBytes) {
      by_wire_.clear();
      by_json_.clear();
      bytes_ = wire.size() + json.size();
    }
    const auto pair = std::make_shared<const Pair>(Pair{std::move(wire), std::move(json)});
    // The keys are views into the pair that the entry holds.
    by_wire_.emplace(pair->wire, pair);
    by_json_.emplace(pair->json, pair);
  }

 private:
  struct Pair {
    std::string wire;
    std::string json;
  };
  using Pairs = std::unordered_map<std::string_view, std::shared_ptr<const Pair>>;

  mutable absl::Mutex mutex_;
  Pairs by_wire_ ABSL_GUARDED_BY(mutex_);
  Pairs by_json_ ABSL_GUARDED_BY(mutex_);
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

bool IsSpec(const google::protobuf::Message& message) { return message.GetDescriptor() == v1::JobSpec::descriptor(); }

// Null: messages like this one are not remembered.
Memo* MemoFor(const google::protobuf::Message& message, bool small) {
  static auto* const specs = new Memo;
  if (IsSpec(message)) return specs;
  if (!small) return nullptr;
  static auto* const windows = new Memo;
  static auto* const counts = new Memo;
  if (message.GetDescriptor() == v1::Window::descriptor()) return windows;
  return message.GetDescriptor() == v1::RowCounts::descriptor() ? counts : nullptr;
}

}  // namespace

absl::StatusOr<std::string> MessageJson(const google::protobuf::Message& message) {
  std::string wire = message.SerializeAsString();
  Memo* const memo = MemoFor(message, wire.size() <= kSmallMessage);
  if (memo != nullptr) {
    std::string known = memo->JsonOf(wire);
    if (!known.empty()) return known;
  }
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  if (!status.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a ", message.GetTypeName(), " cannot be stored: ", std::string(status.message())));
  }
  if (memo != nullptr) memo->Add(std::move(wire), json);
  return json;
}

absl::Status ParseMessageJson(const std::string& json, google::protobuf::Message* message) {
  Memo* const memo = MemoFor(*message, json.size() <= kSmallText);
  if (memo != nullptr && memo->Parse(json, message)) return absl::OkStatus();
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  const auto status = google::protobuf::util::JsonStringToMessage(json, message, options);
  if (!status.ok()) {
    return absl::DataLossError(
        absl::StrCat("the store holds an unreadable ", message->GetTypeName(), ": ", std::string(status.message())));
  }
  if (memo != nullptr) memo->Add(message->SerializeAsString(), json);
  return absl::OkStatus();
}

}  // namespace tidemark::coordinator
