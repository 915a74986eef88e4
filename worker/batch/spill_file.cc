#include "worker/batch/spill_file.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "worker/batch/arrow_chunk_codec.h"
#include "worker/batch/xxhash_checksum.h"

namespace tidemark {
namespace {

static_assert(std::endian::native == std::endian::little, "spill files are little-endian");

constexpr std::string_view kMagic = "TIDESPIL";
constexpr uint32_t kVersion = 1;
constexpr uint32_t kRecordMagic = 0x52445354;

struct RecordHead {
  uint32_t magic = kRecordMagic;
  uint32_t format = 0;
  uint64_t sequence = 0;
  uint64_t rows = 0;
  uint64_t length = 0;
  uint64_t checksum = 0;
};
static_assert(sizeof(RecordHead) == 40, "no padding: it is written as it lies in memory");

template <class Integer>
void Put(std::string& out, Integer value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

std::string Header(std::string_view run_id, int partition) {
  std::string header(kMagic);
  Put(header, kVersion);
  Put(header, static_cast<uint32_t>(run_id.size()));
  Put(header, static_cast<int64_t>(partition));
  header.append(run_id);
  Put(header, Checksum(header));
  return header;
}

std::string_view Bytes(const RecordHead& head) { return {reinterpret_cast<const char*>(&head), sizeof(head)}; }

uint64_t RecordChecksum(const RecordHead& head, std::string_view payload) {
  return Checksum(Bytes(head).substr(0, offsetof(RecordHead, checksum)), payload);
}

absl::Status Failed(std::string_view doing, const std::string& path, int error) {
  const std::string message = absl::StrCat(Abs(doing), " spill file ", path, ": ", std::strerror(error));
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    return absl::ResourceExhaustedError(
        absl::StrCat(message, "; free space there or point spill_dir at a larger disk"));
  }
  return absl::InternalError(message);
}

absl::Status Damaged(const std::string& path, int64_t offset, std::string_view what) {
  return absl::DataLossError(absl::StrCat("spill file ", path, " at offset ", offset, ": ", Abs(what),
                                          "; the disk did not keep what was written"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<SpillFile>> SpillFile::Create(std::string path, std::string_view run_id, int partition) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) {
    if (errno == EEXIST) return absl::AlreadyExistsError(absl::StrCat("spill file ", path, " exists already"));
    return Failed("cannot create", path, errno);
  }
  std::unique_ptr<SpillFile> file(new SpillFile(std::move(path), fd, Header(run_id, partition)));
  TM_RETURN_IF_ERROR(file->WriteAll(file->header_, {}, 0));
  absl::MutexLock lock(&file->mutex_);
  file->end_ = static_cast<int64_t>(file->header_.size());
  return file;
}

SpillFile::SpillFile(std::string path, int fd, std::string header)
    : path_(std::move(path)), fd_(fd), header_(std::move(header)) {}

SpillFile::~SpillFile() {
  unlink(path_.c_str());
  close(fd_);
}

absl::StatusOr<SpillFile::Place> SpillFile::Write(const Chunk& chunk, int64_t sequence) {
  std::shared_ptr<arrow::Buffer> encoded;
  std::string_view payload;
  if (chunk.format() == v1::CHUNK_FORMAT_ARROW) {
    TM_ASSIGN_OR_RETURN(encoded, EncodeArrowChunk(chunk));
    payload = BytesOf(*encoded);
  } else {
    payload = chunk.pg_tuples();
  }
  RecordHead head;
  head.format = chunk.format();
  head.sequence = static_cast<uint64_t>(sequence);
  head.rows = static_cast<uint64_t>(chunk.rows());
  head.length = payload.size();
  head.checksum = RecordChecksum(head, payload);

  absl::MutexLock lock(&mutex_);
  const Place place{end_, static_cast<int64_t>(payload.size())};
  // After a failure the end has not moved: what was written of the record is no part of the file.
  TM_RETURN_IF_ERROR(WriteAll(Bytes(head), payload, place.offset));
  end_ += static_cast<int64_t>(sizeof(head) + payload.size());
  return place;
}

absl::StatusOr<Chunk> SpillFile::Read(const Place& place, int64_t sequence) const {
  RecordHead head;
  TM_RETURN_IF_ERROR(ReadAll(reinterpret_cast<char*>(&head), sizeof(head), place.offset));
  // The length is known from memory, so that a damaged one is never allocated.
  if (head.magic != kRecordMagic || head.length != static_cast<uint64_t>(place.length) ||
      head.sequence != static_cast<uint64_t>(sequence)) {
    return Damaged(path_, place.offset, "the record's header is not the one written");
  }
  std::string payload(static_cast<size_t>(place.length), '\0');
  TM_RETURN_IF_ERROR(ReadAll(payload.data(), place.length, place.offset + static_cast<int64_t>(sizeof(head))));
  if (RecordChecksum(head, payload) != head.checksum) return Damaged(path_, place.offset, "the checksum is wrong");
  if (head.format != v1::CHUNK_FORMAT_ARROW) return Chunk::FromPgTuples(std::move(payload), head.rows);
  auto chunk = DecodeArrowChunk(std::move(payload));
  if (!chunk.ok()) return Damaged(path_, place.offset, Std(chunk.status().message()));
  return chunk;
}

absl::Status SpillFile::CheckHeader() const {
  std::string header(header_.size(), '\0');
  TM_RETURN_IF_ERROR(ReadAll(header.data(), static_cast<int64_t>(header.size()), 0));
  if (header != header_) return Damaged(path_, 0, "the file's header is not the one written");
  return absl::OkStatus();
}

int64_t SpillFile::size() const {
  absl::MutexLock lock(&mutex_);
  return end_;
}

absl::Status SpillFile::WriteAll(std::string_view head, std::string_view body, int64_t offset) const {
  const int64_t total = static_cast<int64_t>(head.size() + body.size());
  for (int64_t done = 0; done < total;) {
    iovec parts[2];
    int count = 0;
    const size_t skip = static_cast<size_t>(done);
    if (skip < head.size()) {
      parts[count++] = {const_cast<char*>(head.data()) + skip, head.size() - skip};
      parts[count++] = {const_cast<char*>(body.data()), body.size()};
    } else {
      parts[count++] = {const_cast<char*>(body.data()) + (skip - head.size()), body.size() - (skip - head.size())};
    }
    const ssize_t written = pwritev(fd_, parts, count, offset + done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Failed("cannot write", path_, errno);
    done += written;
  }
  return absl::OkStatus();
}

absl::Status SpillFile::ReadAll(char* out, int64_t bytes, int64_t offset) const {
  for (int64_t done = 0; done < bytes;) {
    const ssize_t got = pread(fd_, out + done, static_cast<size_t>(bytes - done), offset + done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EIO) return Damaged(path_, offset + done, std::strerror(errno));
    if (got < 0) return Failed("cannot read", path_, errno);
    if (got == 0) return Damaged(path_, offset + done, "the file ends too early");
    done += got;
  }
  return absl::OkStatus();
}

}  // namespace tidemark
