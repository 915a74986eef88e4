#include <xxhash.h>

#include <utility>

#include "common/model/duration.h"
#include "coordinator/cache/job_list_codec.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/gzip_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "tidemark/v1/job_cache.pb.h"

namespace tidemark::coordinator {
namespace {

namespace io = google::protobuf::io;

// What a value begins with; the checksum of all that follows it comes next.
constexpr std::string_view kMagic = "tidemark1";
constexpr size_t kChecksumSize = sizeof(XXH64_canonical_t);
// A list that is unpacked to more is none of ours.
constexpr int kLargest = 256 << 20;

std::string Checksum(std::string_view text) {
  XXH64_canonical_t canonical;
  XXH64_canonicalFromHash(&canonical, XXH3_64bits(text.data(), text.size()));
  return std::string(reinterpret_cast<const char*>(canonical.digest), sizeof(canonical.digest));
}

google::protobuf::Timestamp ToTimestamp(absl::Time time) {
  const absl::Duration since = time - absl::UnixEpoch();
  google::protobuf::Timestamp timestamp;
  const int64_t seconds = absl::ToInt64Seconds(absl::Floor(since, absl::Seconds(1)));
  timestamp.set_seconds(seconds);
  timestamp.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(since - absl::Seconds(seconds))));
  return timestamp;
}

absl::Time FromTimestamp(const google::protobuf::Timestamp& timestamp) {
  return absl::FromUnixSeconds(timestamp.seconds()) + absl::Nanoseconds(timestamp.nanos());
}

}  // namespace

std::string EncodeJobList(const CachedList& cached, std::string_view cluster_id) {
  v1::CachedJobList message;
  message.set_cluster_id(std::string(cluster_id));
  message.set_revision(cached.list->revision);
  *message.mutable_expire_time() = ToTimestamp(cached.expires);
  *message.mutable_load_time() = ToProto(cached.load_time);
  for (const JobDefinition& job : cached.list->jobs) {
    v1::CachedJob* const entry = message.add_jobs();
    entry->set_uid(job.uid);
    *entry->mutable_spec() = job.spec;
    entry->set_enabled(job.enabled);
    *entry->mutable_create_time() = ToTimestamp(job.created);
    *entry->mutable_update_time() = ToTimestamp(job.updated);
  }
  std::string packed;
  {
    io::StringOutputStream out(&packed);
    io::GzipOutputStream gzip(&out);
    message.SerializeToZeroCopyStream(&gzip);
  }
  return std::string(kMagic) + Checksum(packed) + packed;
}

std::optional<CachedList> DecodeJobList(std::string_view value, std::string_view cluster_id, int64_t revision) {
  if (!value.starts_with(kMagic) || value.size() < kMagic.size() + kChecksumSize) return std::nullopt;
  value.remove_prefix(kMagic.size());
  const std::string_view packed = value.substr(kChecksumSize);
  if (value.substr(0, kChecksumSize) != Checksum(packed)) return std::nullopt;
  v1::CachedJobList message;
  io::ArrayInputStream in(packed.data(), static_cast<int>(packed.size()));
  io::GzipInputStream gzip(&in, io::GzipInputStream::GZIP);
  io::CodedInputStream coded(&gzip);
  coded.SetTotalBytesLimit(kLargest);
  if (!message.ParseFromCodedStream(&coded) || !coded.ConsumedEntireMessage()) return std::nullopt;
  if (message.cluster_id() != cluster_id || message.revision() != revision) return std::nullopt;
  auto list = std::make_shared<JobList>();
  list->revision = revision;
  list->jobs.reserve(message.jobs_size());
  for (v1::CachedJob& entry : *message.mutable_jobs()) {
    list->jobs.push_back({entry.uid(), std::move(*entry.mutable_spec()), entry.enabled(),
                          FromTimestamp(entry.create_time()), FromTimestamp(entry.update_time())});
  }
  return CachedList{std::move(list), FromTimestamp(message.expire_time()), FromProto(message.load_time())};
}

}  // namespace tidemark::coordinator
