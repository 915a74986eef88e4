#include "common/config/settings_keys.h"

namespace tidemark {
namespace {

using Kind = ProjectKey::Kind;

ProjectKey Tls() {
  return {.name = "tls",
          .kind = Kind::kMapping,
          .doc = "PEM files; absent: plain text",
          .keys = {{.name = "cert", .kind = Kind::kPath, .doc = "Certificate chain"},
                   {.name = "key", .kind = Kind::kPath, .doc = "Its private key"},
                   {.name = "ca",
                    .kind = Kind::kPath,
                    .doc = "Authority that must have signed the other end's certificate; on a coordinator clients must "
                           "then show one"}}};
}

}  // namespace

const std::vector<ProjectKey>& CoordinatorSettingsKeys() {
  static const auto* const kKeys = new std::vector<ProjectKey>{
      {.name = "store", .kind = Kind::kDsn, .doc = "Metadata store: postgresql://... or sqlite:PATH", .required = true},
      {.name = "redis", .kind = Kind::kDsn, .doc = "Job cache: redis://...; absent: in memory"},
      {.name = "admin_listen",
       .kind = Kind::kAddress,
       .doc = "Address of the admin API; port 0 takes a free one",
       .fallback = "0.0.0.0:8470"},
      {.name = "worker_listen",
       .kind = Kind::kAddress,
       .doc = "Address for workers: callers of other machines need a certificate",
       .fallback = "0.0.0.0:8471"},
      {.name = "metrics_listen",
       .kind = Kind::kAddress,
       .doc = "Address of GET /metrics and /healthz",
       .fallback = "0.0.0.0:9470"},
      {.name = "lease_seconds",
       .kind = Kind::kWhole,
       .doc = "A worker not heard of for this long has lost its tasks",
       .fallback = "15",
       .min = 2,
       .max = 3600},
      {.name = "key_file", .kind = Kind::kPath, .doc = "Keys that seal connection strings in the store"},
      Tls(),
  };
  return *kKeys;
}

const std::vector<ProjectKey>& WorkerSettingsKeys() {
  static const auto* const kKeys = new std::vector<ProjectKey>{
      {.name = "coordinators",
       .kind = Kind::kAddresses,
       .doc = "HOST:PORT of every coordinator; the one that leads is found",
       .required = true},
      {.name = "id",
       .kind = Kind::kText,
       .doc = "Unique in the cluster and stable: spills belong to it; absent: made of the host's name and spill_dir"},
      {.name = "slots", .kind = Kind::kWhole, .doc = "Tasks at once", .fallback = "4", .min = 1, .max = 1000},
      {.name = "memory",
       .kind = Kind::kBytes,
       .doc = "What the process may hold resident",
       .field = "memory_bytes",
       .fallback = "1GiB",
       .min = 64 << 20},
      {.name = "spill_dir",
       .kind = Kind::kPath,
       .doc = "Folder for rows on their way that memory does not hold",
       .fallback = "/var/tmp/tidemark"},
      {.name = "stage", .kind = Kind::kText, .doc = "Where failed loads keep their rows: local", .fallback = "local"},
      {.name = "metrics_listen",
       .kind = Kind::kAddress,
       .doc = "Address of GET /metrics and /healthz; port 0 takes a free one",
       .fallback = "0.0.0.0:9471"},
      {.name = "allow_env",
       .kind = Kind::kTexts,
       .doc = "Environment variables that connection strings may refer to as ${env:NAME}; absent: none"},
      {.name = "secrets_dir",
       .kind = Kind::kPath,
       .doc = "Folder of the files that connection strings may refer to as ${file:PATH}; absent: none"},
      {.name = "adbc_drivers_dir",
       .kind = Kind::kPath,
       .doc = "Folder of the libraries that adbc:DRIVER may load, whose code then runs in the worker; absent: none"},
      Tls(),
  };
  return *kKeys;
}

}  // namespace tidemark
