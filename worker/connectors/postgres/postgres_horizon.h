#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tidemark/v1/spec.pb.h"
#include "tidemark/v1/values.pb.h"
#include "worker/connector/source.h"
#include "worker/connectors/postgres/postgres_connection.h"
#include "worker/connectors/postgres/postgres_open_transactions.h"
#include "worker/connectors/postgres/postgres_read_sql.h"

namespace tidemark::postgres {

// The horizon of a PostgreSQL source by the rules of docs/horizons.md: the bound below which no open transaction
// can still write, or how far short of that it falls. Its statements run one by one outside of any transaction, because
// the proof rests on the snapshot being opened after them.
class Horizon {
 public:
  // All outlive it. The job names a watermark column.
  Horizon(Connection* connection, const ReadSql* sql, const v1::SourceSpec* source)
      : connection_(connection), sql_(sql), source_(source) {}

  // See SourceSession::ProbeHorizon. Waits up to horizon_wait where a rule has to wait transactions out. Unavailable if
  // a first window has no bound because of a transaction that must end first.
  absl::StatusOr<HorizonProbe> Probe(const std::optional<LastWindow>& last);

  // See SourceSession::IsAbove.
  absl::StatusOr<bool> IsAbove(const v1::Watermark& value, const v1::Watermark& bound);

  // See SourceSession::HorizonReached.
  absl::StatusOr<bool> Reached(const v1::Watermark& until);

 private:
  // What `proved` rests on, why it is out of reach, and what pins the horizon at its last value.
  struct Findings {
    bool standby = false;
    bool sees_activity = false;
    std::vector<std::string> grounds;
    std::vector<std::string> against;
    // The least overlap that lookback must have.
    absl::Duration least_lookback;
    // How far the window reaches back even if it is proved itself, because the one before it was not.
    absl::Duration last_lookback;
    // Empty unless the horizon is held.
    std::string holder;
    // The oid of the one sequence that feeds an integer column; empty if there is none.
    std::string sequence;
  };
  // Microseconds since 1970 on the source's clock.
  struct Bound {
    int64_t now = 0;
    // No transaction still open stamps a row before it.
    int64_t instant = 0;
    // The earliest stamp of an open transaction.
    std::optional<int64_t> oldest;
    // False: some open transactions are neither seen nor waited out.
    bool complete = true;
  };

  absl::StatusOr<Findings> Examine();
  absl::Status ExamineZone(Findings& findings);
  absl::Status ExamineSequence(Findings& findings);

  absl::StatusOr<Bound> BoundInTime(absl::Duration wait, Findings& findings);
  absl::StatusOr<Bound> BoundByActivity(const ActivityProbe& activity, absl::Duration wait, Findings& findings);
  absl::StatusOr<Bound> BoundByWaiting(absl::Duration wait, Findings& findings);
  void HoldForPrepared(const OpenTransactions& prepared, Findings& findings) const;

  absl::StatusOr<HorizonProbe> ProbeTime(const std::optional<v1::Watermark>& low, Findings findings);
  absl::StatusOr<HorizonProbe> ProbeInteger(const std::optional<v1::Watermark>& low, Findings findings);
  // InvalidArgument if the sequence was set back below `low`, so that new rows would never be moved; against a proof if
  // it stands below `high`.
  absl::Status CompareWithSequence(const std::optional<v1::Watermark>& low, const std::string& high,
                                   Findings& findings);
  absl::StatusOr<HorizonProbe> ProbeXid8(const std::optional<v1::Watermark>& low, Findings findings);
  // Fills in what follows from `high`, or from what holds it.
  absl::StatusOr<HorizonProbe> Conclude(const std::optional<v1::Watermark>& low, const std::string& high,
                                        const Findings& findings);
  absl::Status LookBack(const v1::Watermark& low, absl::Duration lookback, HorizonProbe& probe);

  int64_t GreatestBelow(int64_t instant) const;
  // A moment as a value of the column, in SQL.
  std::string AsColumn(int64_t micros) const;
  absl::StatusOr<std::string> Evaluate(const std::string& expression);
  v1::Watermark Value(std::string text) const;
  std::string Literal(const std::string& text) const { return TypedLiteral(sql_->watermark()->type, text); }
  WatermarkKind kind() const;
  int precision() const;
  bool TooLong(int64_t now, int64_t since) const;

  Connection* connection_;
  const ReadSql* sql_;
  const v1::SourceSpec* source_;
};

}  // namespace tidemark::postgres
