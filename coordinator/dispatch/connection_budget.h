#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/store/records.h"
#include "tidemark/v1/spec.pb.h"

namespace tidemark::coordinator {

// A permit, and what its session does. The latter is known to the leader alone, from the tasks it has leased and from
// what workers report: a session it has not heard of is taken for busy.
struct Permit : PermitRecord {
  enum class State { kBusy, kIdle, kClosing };
  State state = State::kBusy;
};

// The permits of the cluster: one for each session on a source, from the grant until the session is known gone. A
// server, with its database, has an identity (common/model/connection_identity.h): that of a connection, or of one of
// its replicas, which has the connection's limit for itself. Those that name one server and database share one limit,
// the lowest of theirs. A value that mirrors the store's permits; the store is written first. Not thread-safe.
class ConnectionBudget {
 public:
  // Replaces the limits. Permits stay, those of connections that are gone too, and count where they were granted: a
  // connection that leads elsewhere now takes none of its sessions along.
  void SetConnections(const std::vector<v1::ConnectionSpec>& connections);

  // The connection's own server: the same for connections that share one budget.
  std::string Server(std::string_view connection) const;
  // Those of its replicas, in their order.
  std::vector<std::string> Replicas(std::string_view connection) const;
  // Where the permit counts.
  std::string ServerOf(const Permit& permit) const;

  // 0 for a server that no connection names.
  int LimitOn(std::string_view server) const;
  // Sessions that may be open on it.
  int HeldOn(std::string_view server) const;
  // More sessions that may be opened now; never below 0.
  int SpareOn(std::string_view server) const;
  // The same of a connection's own server.
  int Limit(std::string_view connection) const { return LimitOn(Server(connection)); }
  int Held(std::string_view connection) const { return HeldOn(Server(connection)); }
  int Spare(std::string_view connection) const { return SpareOn(Server(connection)); }

  // Adds the permit as the store has it. Of one that is held, takes over what the store says; its state and when it
  // will be gone stay.
  void Grant(PermitRecord permit);
  // The session is known gone. False if no permit has the id.
  bool Release(std::string_view session_id);

  // Grows with every change of a permit.
  int64_t version() const { return version_; }

  // Null if no permit has the id; valid until the permit is released.
  const Permit* Find(std::string_view session_id) const;
  void SetState(std::string_view session_id, Permit::State state);
  void SetInSnapshot(std::string_view session_id, bool in_snapshot);
  std::vector<const Permit*> OfRun(std::string_view run_id) const;
  std::vector<const Permit*> OfWorker(std::string_view worker_id, std::string_view incarnation) const;
  std::vector<const Permit*> All() const;

  // The holder is dead or silent: its sessions stay taken until `gone_at` (monotonic), when lease and server-side
  // timeouts have ended them. An earlier report that a session is closed still counts.
  void Condemn(std::string_view session_id, absl::Duration gone_at);
  bool Condemned(std::string_view session_id) const;
  // Sessions that are known gone by `now`.
  std::vector<std::string> KnownGone(absl::Duration now) const;
  // When the next session will be known gone; InfiniteDuration if none is condemned.
  absl::Duration NextGone() const;

 private:
  struct Entry {
    Permit permit;
    std::optional<absl::Duration> gone_at;
  };

  std::map<std::string, std::string, std::less<>> servers_;                // By connection.
  std::map<std::string, std::vector<std::string>, std::less<>> replicas_;  // By connection.
  std::map<std::string, int, std::less<>> limits_;                         // By server.
  std::map<std::string, Entry, std::less<>> permits_;                      // By session.
  int64_t version_ = 0;
};

}  // namespace tidemark::coordinator
