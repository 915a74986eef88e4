#include "worker/batch/spill.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "worker/batch/process_memory.h"

namespace tidemark {
namespace {

namespace fs = std::filesystem;

class SpillTest : public testing::Test {
 protected:
  SpillTest() {
    std::string path = (fs::temp_directory_path() / "spill_test_XXXXXX").string();
    EXPECT_NE(mkdtemp(path.data()), nullptr);
    directory_ = path;
  }
  ~SpillTest() override { fs::remove_all(directory_); }

  std::unique_ptr<Spill> Open(int64_t memory_share, int64_t in_flight = 4 << 20) {
    SpillOptions options;
    options.directory = directory_;
    options.name = absl::StrCat("task-", ++opened_);
    options.run_id = "run-1";
    options.partition = 3;
    options.memory_share = memory_share;
    options.in_flight = in_flight;
    auto spill = OpenSpill(options, &budget_);
    EXPECT_TRUE(spill.ok()) << spill.status();
    return *std::move(spill);
  }

  std::string File(int number = 1) const { return absl::StrCat(directory_, "/task-", number, ".spill"); }
  bool NoFiles() const { return fs::is_empty(directory_); }

  // A chunk whose content follows from `number`.
  static Chunk Frames(int number, int64_t bytes = 1000) {
    std::string text(static_cast<size_t>(bytes), static_cast<char>(number * 7 % 251));
    for (size_t i = 0; i < text.size(); i += 37) text[i] = static_cast<char>(i * 31 % 251);
    return Chunk::FromPgTuples(std::move(text), number + 1);
  }

  // Reads to the end and expects Frames(0), Frames(1), ...
  static void ExpectAll(Spill& spill, int count, int64_t bytes = 1000) {
    for (int i = 0; i < count; ++i) {
      auto chunk = spill.Next();
      ASSERT_TRUE(chunk.ok()) << chunk.status();
      ASSERT_TRUE(chunk->has_value()) << "ended before chunk " << i;
      EXPECT_EQ((*chunk)->rows(), i + 1);
      EXPECT_EQ((*chunk)->pg_tuples(), Frames(i, bytes).pg_tuples());
    }
    auto end = spill.Next();
    ASSERT_TRUE(end.ok()) << end.status();
    EXPECT_FALSE(end->has_value());
  }

  std::string directory_;
  MemoryBudget budget_{1 << 20};
  int opened_ = 0;
};

TEST_F(SpillTest, KeepsAShareInMemoryAndTheRestOnDisk) {
  auto spill = Open(3500);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(spill->Append(Frames(i)).ok());
  spill->Finish(absl::OkStatus());
  const int64_t three = 3 * Frames(0).bytes();
  EXPECT_EQ(budget_.used(), three);
  EXPECT_GT(spill->spilled_bytes(), 7000);
  EXPECT_EQ(static_cast<int64_t>(fs::file_size(File())), spill->spilled_bytes());
  ExpectAll(*spill, 10);
  spill->Rewind();
  ExpectAll(*spill, 10);
  EXPECT_EQ(budget_.used(), three);
  spill.reset();
  EXPECT_EQ(budget_.used(), 0);
  EXPECT_TRUE(NoFiles());
}

TEST_F(SpillTest, WithoutNeedThereIsNoFile) {
  auto spill = Open(1 << 20);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(spill->Append(Frames(i)).ok());
  spill->Finish(absl::OkStatus());
  EXPECT_EQ(spill->spilled_bytes(), 0);
  EXPECT_TRUE(NoFiles());
  ExpectAll(*spill, 10);
}

TEST_F(SpillTest, GoesToDiskWhenOthersHoldTheBudget) {
  ASSERT_TRUE(budget_.TryTake(budget_.total()));
  auto spill = Open(1 << 20);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(spill->Append(Frames(i)).ok());
  spill->Finish(absl::OkStatus());
  EXPECT_GT(spill->spilled_bytes(), 5000);
  ExpectAll(*spill, 5);
  EXPECT_EQ(budget_.used(), budget_.total());
  budget_.Give(budget_.total());
}

TEST_F(SpillTest, TheWritersErrorComesAfterItsChunks) {
  auto spill = Open(1 << 20);
  ASSERT_TRUE(spill->Append(Frames(0)).ok());
  spill->Finish(absl::UnavailableError("the source went away"));
  auto first = spill->Next();
  ASSERT_TRUE(first.ok() && first->has_value());
  EXPECT_EQ(spill->Next().status(), absl::UnavailableError("the source went away"));
}

TEST_F(SpillTest, ReaderWaitsForTheWriter) {
  auto spill = Open(20'000);
  EXPECT_FALSE(spill->Readable());
  std::thread writer([&] {
    for (int i = 0; i < 200; ++i) {
      ASSERT_TRUE(spill->Append(Frames(i)).ok());
      if (i % 16 == 0) std::this_thread::yield();
    }
    spill->Finish(absl::OkStatus());
  });
  for (int i = 0; i < 50; ++i) {
    spill->AwaitReadable();
    ASSERT_TRUE(spill->Readable());
    auto chunk = spill->Next();
    ASSERT_TRUE(chunk.ok() && chunk->has_value());
    ASSERT_EQ((*chunk)->pg_tuples(), Frames(i).pg_tuples());
  }
  // A load that failed half way begins again while the extract still writes.
  spill->Rewind();
  ExpectAll(*spill, 200);
  writer.join();
}

TEST_F(SpillTest, EveryFlippedByteIsDetected) {
  auto spill = Open(0);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(spill->Append(Frames(i, 40)).ok());
  spill->Finish(absl::OkStatus());
  const int64_t size = spill->spilled_bytes();
  const int fd = open(File().c_str(), O_RDWR);
  ASSERT_GE(fd, 0);
  for (int64_t at = 0; at < size; ++at) {
    char original = 0;
    ASSERT_EQ(pread(fd, &original, 1, at), 1);
    const char flipped = static_cast<char>(original ^ (1 << (at % 8)));
    ASSERT_EQ(pwrite(fd, &flipped, 1, at), 1);
    spill->Rewind();
    absl::Status error;
    for (int i = 0; i < 3 && error.ok(); ++i) error = spill->Next().status();
    EXPECT_EQ(error.code(), absl::StatusCode::kDataLoss) << "byte " << at;
    EXPECT_NE(error.message().find(File()), absl::string_view::npos) << error;
    EXPECT_NE(error.message().find("offset"), absl::string_view::npos) << error;
    ASSERT_EQ(pwrite(fd, &original, 1, at), 1);
  }
  close(fd);
  spill->Rewind();
  ExpectAll(*spill, 3, 40);
}

TEST_F(SpillTest, EveryCutIsDetected) {
  auto spill = Open(0);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(spill->Append(Frames(i, 40)).ok());
  spill->Finish(absl::OkStatus());
  for (int64_t size = spill->spilled_bytes() - 1; size >= 0; --size) {
    ASSERT_EQ(truncate(File().c_str(), size), 0);
    spill->Rewind();
    absl::Status error;
    for (int i = 0; i < 3 && error.ok(); ++i) error = spill->Next().status();
    EXPECT_EQ(error.code(), absl::StatusCode::kDataLoss) << "cut to " << size << ": " << error;
  }
}

TEST_F(SpillTest, RecordsOfAnotherPlaceAreDetected) {
  auto spill = Open(0);
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(spill->Append(Frames(i, 40)).ok());
  spill->Finish(absl::OkStatus());
  // Two whole, valid records change places.
  std::string bytes(static_cast<size_t>(spill->spilled_bytes()), '\0');
  std::ifstream(File(), std::ios::binary).read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  const size_t record = 80;
  const size_t header = bytes.size() - 2 * record;
  const std::string swapped = bytes.substr(0, header) + bytes.substr(header + record) + bytes.substr(header, record);
  std::ofstream(File(), std::ios::binary | std::ios::in | std::ios::out) << swapped;
  EXPECT_EQ(spill->Next().status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(SpillTest, AFullDiskIsSaidClearly) {
  auto spill = Open(0);
  ASSERT_TRUE(spill->Append(Frames(0)).ok());
  // A write to a file beyond the process's limit fails as one to a full disk does, with another error number.
  const auto previous = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  rlimit limit = old_limit;
  limit.rlim_cur = static_cast<rlim_t>(spill->spilled_bytes() + 500);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const absl::Status failed = spill->Append(Frames(1));
  setrlimit(RLIMIT_FSIZE, &old_limit);
  std::signal(SIGXFSZ, previous);
  EXPECT_EQ(failed.code(), absl::StatusCode::kResourceExhausted) << failed;
  EXPECT_NE(failed.message().find("spill_dir"), absl::string_view::npos) << failed;
  // What had been written of the record is no part of the spill.
  ASSERT_TRUE(spill->Append(Frames(1)).ok());
  spill->Finish(absl::OkStatus());
  ExpectAll(*spill, 2);
}

TEST_F(SpillTest, ALargeValueWaitsForTheWholeBudget) {
  const int64_t large = 300'000;
  auto other = Open(1 << 20);
  ASSERT_TRUE(other->Append(Frames(0)).ok());
  other->Finish(absl::OkStatus());
  auto spill = Open(/*memory_share=*/10'000, /*in_flight=*/2'000);
  ASSERT_TRUE(spill->Append(Frames(0)).ok());
  ASSERT_TRUE(spill->Append(Frames(1, large)).ok());
  spill->Finish(absl::OkStatus());
  ASSERT_TRUE(spill->Next().ok());
  std::atomic<bool> read = false;
  std::thread reader([&] {
    auto chunk = spill->Next();
    ASSERT_TRUE(chunk.ok()) << chunk.status();
    EXPECT_EQ((*chunk)->pg_tuples(), Frames(1, large).pg_tuples());
    read = true;
  });
  // The one who waits has let go of its own memory: only the other's is left.
  while (budget_.used() != Frames(0).bytes()) std::this_thread::yield();
  EXPECT_FALSE(read);
  ExpectAll(*other, 1);
  other.reset();
  reader.join();
  EXPECT_EQ(budget_.used(), budget_.total());
  auto end = spill->Next();
  ASSERT_TRUE(end.ok());
  EXPECT_EQ(budget_.used(), 0);
  spill->Rewind();
  auto first = spill->Next();
  ASSERT_TRUE(first.ok());
  EXPECT_EQ((*first)->pg_tuples(), Frames(0).pg_tuples());
}

TEST_F(SpillTest, ManyTasksWithLargeValuesAllFinish) {
  std::vector<std::thread> tasks;
  std::vector<std::unique_ptr<Spill>> spills;
  for (int t = 0; t < 4; ++t) spills.push_back(Open(/*memory_share=*/400'000, /*in_flight=*/2'000));
  for (auto& spill : spills) {
    tasks.emplace_back([&spill] {
      std::thread writer([&spill] {
        for (int i = 0; i < 10; ++i) ASSERT_TRUE(spill->Append(Frames(i, i % 5 == 4 ? 500'000 : 30'000)).ok());
        spill->Finish(absl::OkStatus());
      });
      for (int i = 0; i < 10; ++i) {
        auto chunk = spill->Next();
        ASSERT_TRUE(chunk.ok()) << chunk.status();
        ASSERT_EQ((*chunk)->rows(), i + 1);
        ASSERT_EQ((*chunk)->pg_tuples().size(), i % 5 == 4 ? 500'000U : 30'000U);
      }
      writer.join();
      spill.reset();
    });
  }
  for (std::thread& task : tasks) task.join();
  EXPECT_EQ(budget_.used(), 0);
  EXPECT_TRUE(NoFiles());
}

TEST_F(SpillTest, AReaderThatMustNotWaitIsToldAndComesBackWithAllItNeeds) {
  const int64_t large = 300'000;
  ASSERT_TRUE(budget_.TryTake(budget_.total() - 10'000));
  auto spill = Open(/*memory_share=*/400'000, /*in_flight=*/2'000);
  ASSERT_TRUE(spill->Append(Frames(0)).ok());
  ASSERT_TRUE(spill->Append(Frames(1, large)).ok());
  EXPECT_TRUE(*spill->TakeForNext());
  ASSERT_TRUE(spill->Next().ok());
  EXPECT_FALSE(*spill->TakeForNext());
  spill->RewindToReserve();
  EXPECT_FALSE(spill->Readable()) << "a larger chunk may come";
  ASSERT_TRUE(spill->Append(Frames(2, large + 50'000)).ok());
  spill->Finish(absl::OkStatus());
  EXPECT_TRUE(spill->Readable());
  EXPECT_EQ(budget_.used(), budget_.total() - 10'000) << "who is to wait holds nothing";
  std::thread reader([&] { EXPECT_TRUE(spill->Reserve().ok()); });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  budget_.Give(budget_.total() - 10'000);
  reader.join();
  // All of it is there now, whatever others take.
  EXPECT_EQ(budget_.used(), large + 50'000);
  ASSERT_TRUE(budget_.TryTake(budget_.total() - budget_.used()));
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(*spill->TakeForNext());
    auto chunk = spill->Next();
    ASSERT_TRUE(chunk.ok() && chunk->has_value()) << chunk.status();
    EXPECT_EQ((*chunk)->rows(), i + 1);
  }
  EXPECT_TRUE(*spill->TakeForNext());
  EXPECT_FALSE((*spill->Next()).has_value());
  spill->Rewind();
  EXPECT_EQ(budget_.used(), budget_.total() - large - 50'000);
  // Free as it is, the memory is taken for one chunk at a time.
  EXPECT_TRUE(*spill->TakeForNext());
  ASSERT_TRUE(spill->Next().ok());
  EXPECT_TRUE(*spill->TakeForNext());
  EXPECT_EQ(budget_.used(), budget_.total() - 50'000);
  ASSERT_TRUE(spill->Next().ok());
  EXPECT_EQ(budget_.used(), budget_.total() - 50'000);
  spill.reset();
  budget_.Give(budget_.used());
}

TEST_F(SpillTest, CancelEndsEveryWait) {
  auto waiting_for_writer = Open(1000);
  std::thread first([&] { EXPECT_EQ(waiting_for_writer->Next().status().code(), absl::StatusCode::kCancelled); });
  std::this_thread::yield();
  waiting_for_writer->Cancel();
  first.join();
  EXPECT_EQ(waiting_for_writer->Append(Frames(0)).code(), absl::StatusCode::kCancelled);

  ASSERT_TRUE(budget_.TryTake(budget_.total()));
  auto waiting_for_memory = Open(/*memory_share=*/100, /*in_flight=*/100);
  ASSERT_TRUE(waiting_for_memory->Append(Frames(0)).ok());
  std::thread second([&] { EXPECT_EQ(waiting_for_memory->Next().status().code(), absl::StatusCode::kCancelled); });
  std::this_thread::yield();
  waiting_for_memory->Cancel();
  second.join();
  budget_.Give(budget_.total());
}

// Sanitizers keep freed memory.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_F(SpillTest, ResidentMemoryFollowsTheBudget) {
  constexpr int64_t kMega = 1 << 20;
  ReturnLargeBuffersAtOnce();
  MemoryBudget budget(16 * kMega);
  for (int round = 0; round < 2; ++round) {
    const int64_t before = ResidentBytes();
    auto spill = OpenSpill({directory_, absl::StrCat("resident-", round), "run", 0, 12 * kMega, 4 * kMega}, &budget);
    ASSERT_TRUE(spill.ok());
    for (int i = 0; i < 64; ++i) ASSERT_TRUE((*spill)->Append(Frames(i, kMega)).ok());
    (*spill)->Finish(absl::OkStatus());
    EXPECT_LE(ResidentBytes() - before, 16 * kMega);
    ExpectAll(**spill, 64, kMega);
    EXPECT_LE(ResidentBytes() - before, 18 * kMega);
    spill->reset();
    EXPECT_LE(ResidentBytes() - before, 4 * kMega);
  }
}
#endif

}  // namespace
}  // namespace tidemark
