#include "worker/connector/writer_queue.h"

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tidemark {
namespace {

using ::testing::ElementsAre;

TEST(WriterQueue, WritersTakeTurnsInOrder) {
  const auto queue = std::make_shared<WriterQueue>();
  const auto never = [] { return false; };
  auto first = std::make_unique<WriterQueue::Turn>(*queue->Wait(never));
  std::atomic<bool> give_up = false;
  std::vector<int> order;
  absl::Status gave_up;
  std::thread second([&] { gave_up = queue->Wait([&] { return give_up.load(); }).status(); });
  absl::SleepFor(absl::Milliseconds(30));
  std::thread third([&] {
    const auto turn = queue->Wait(never);
    order.push_back(3);
  });
  absl::SleepFor(absl::Milliseconds(30));
  std::thread fourth([&] {
    const auto turn = queue->Wait(never);
    order.push_back(4);
  });
  absl::SleepFor(absl::Milliseconds(30));
  EXPECT_TRUE(order.empty());
  give_up = true;
  second.join();
  EXPECT_TRUE(absl::IsCancelled(gave_up));
  first.reset();
  third.join();
  fourth.join();
  EXPECT_THAT(order, ElementsAre(3, 4));
}

}  // namespace
}  // namespace tidemark
