#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace tidemark::test {

// Writers that commit late and out of order: each in a loop opens a transaction, stamps rows with the database's clock,
// waits a random while (up to `max_hold_ms`) and commits; one in ten rolls back. This is the traffic that makes a
// watermark skip rows.
class LateWriters {
 public:
  struct Options {
    std::string dsn;
    // Has columns id bigint primary key, payload text, updated_at timestamptz not null.
    std::string table;
    int writers = 48;
    int max_hold_ms = 800;
    // Also update existing rows of the same writer; else insert alone.
    bool updates = false;
  };

  explicit LateWriters(Options options);
  // Stops and joins.
  ~LateWriters();
  void Stop();
  // Transactions committed so far.
  int64_t commits() const { return commits_; }

 private:
  void Write(int writer);

  const Options options_;
  std::atomic<bool> stop_ = false;
  std::atomic<int64_t> commits_ = 0;
  std::vector<std::thread> threads_;
};

// Samples, every 20 ms, how many sessions named "tidemark..." a database has.
class ConnectionSampler {
 public:
  ConnectionSampler(std::string dsn, std::string database);
  ~ConnectionSampler();
  // Stops, and returns the most sessions seen in one sample.
  int Stop();
  int samples() const { return samples_; }

 private:
  void Sample(const std::string& dsn, const std::string& database);
  std::atomic<bool> stop_ = false;
  std::atomic<int> most_ = 0;
  std::atomic<int> samples_ = 0;
  std::thread thread_;
};

}  // namespace tidemark::test
