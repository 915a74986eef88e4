#include "common/config/settings.h"

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/config/reference.h"
#include "common/config/settings_keys.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

namespace tidemark {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

using Variables = std::map<std::string, std::string>;

std::function<std::optional<std::string>(const std::string&)> EnvironmentOf(Variables variables) {
  return [variables = std::move(variables)](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional<std::string>(found->second);
  };
}

class SettingsTest : public testing::Test {
 protected:
  absl::StatusOr<v1::CoordinatorSettings> Coordinator(const std::string& yaml, Variables variables = {}) {
    return LoadCoordinatorSettings(directory_.Write("settings.yaml", yaml), {EnvironmentOf(std::move(variables)), "h"});
  }
  absl::StatusOr<v1::WorkerSettings> Worker(const std::string& yaml, Variables variables = {}) {
    return LoadWorkerSettings(directory_.Write("settings.yaml", yaml), {EnvironmentOf(std::move(variables)), "h"});
  }

  // The lines of an InvalidArgument, the file's path taken off.
  std::vector<std::string> Lines(const absl::Status& status) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    std::vector<std::string> lines = absl::StrSplit(std::string(status.message()), '\n');
    const std::string prefix = directory_.File("settings.yaml:");
    for (std::string& line : lines) {
      if (line.starts_with(prefix)) line = line.substr(prefix.size());
    }
    return lines;
  }

  test::TempDir directory_;
};

TEST_F(SettingsTest, DefaultsOfACoordinator) {
  const auto settings = Coordinator("store: postgresql://me:secret77@db/meta\n");
  ASSERT_TRUE(settings.ok()) << settings.status();
  EXPECT_EQ(settings->store(), "postgresql://me:secret77@db/meta");
  EXPECT_EQ(settings->admin_listen(), "0.0.0.0:8470");
  EXPECT_EQ(settings->worker_listen(), "0.0.0.0:8471");
  EXPECT_EQ(settings->metrics_listen(), "0.0.0.0:9470");
  EXPECT_EQ(settings->lease_seconds(), 15);
  EXPECT_EQ(settings->redis(), "");
  EXPECT_EQ(settings->key_file(), "");
  EXPECT_FALSE(settings->has_tls());
}

TEST_F(SettingsTest, EveryKeyOfACoordinator) {
  directory_.Write("redis.dsn", "redis://cache:6379\n");
  const auto settings = Coordinator(R"(
store: sqlite:meta.db
redis: ${file:redis.dsn}
admin_listen: 127.0.0.1:0
worker_listen: "[::1]:18471"
metrics_listen: ${env:HOST}:9000
lease_seconds: ${env:LEASE}
key_file: keys/kek
tls: { cert: c.pem, key: /etc/k.pem, ca: ../ca.pem }
)",
                                    {{"HOST", "0.0.0.0"}, {"LEASE", "7"}});
  ASSERT_TRUE(settings.ok()) << settings.status();
  EXPECT_EQ(settings->store(), "sqlite:" + directory_.File("meta.db"));
  EXPECT_EQ(settings->redis(), "redis://cache:6379");
  EXPECT_EQ(settings->admin_listen(), "127.0.0.1:0");
  EXPECT_EQ(settings->worker_listen(), "[::1]:18471");
  EXPECT_EQ(settings->metrics_listen(), "0.0.0.0:9000");
  EXPECT_EQ(settings->lease_seconds(), 7);
  EXPECT_EQ(settings->key_file(), directory_.File("keys/kek"));
  EXPECT_EQ(settings->tls().cert(), directory_.File("c.pem"));
  EXPECT_EQ(settings->tls().key(), "/etc/k.pem");
  EXPECT_EQ(settings->tls().ca(), (std::filesystem::path(directory_.path()).parent_path() / "ca.pem").string());
}

TEST_F(SettingsTest, DefaultsOfAWorker) {
  const auto settings = Worker("coordinators: [a:8471]\n");
  ASSERT_TRUE(settings.ok()) << settings.status();
  EXPECT_EQ(settings->slots(), 4);
  EXPECT_EQ(settings->memory_bytes(), int64_t{1} << 30);
  EXPECT_EQ(settings->spill_dir(), "/var/tmp/tidemark");
  EXPECT_EQ(settings->stage(), "local");
  EXPECT_EQ(settings->metrics_listen(), "0.0.0.0:9471");
  EXPECT_EQ(settings->allow_env_size(), 0);
  EXPECT_EQ(settings->secrets_dir(), "");
  EXPECT_EQ(settings->adbc_drivers_dir(), "");
  EXPECT_THAT(settings->id(), testing::MatchesRegex("h-[0-9a-f]+"));
  EXPECT_EQ(Worker("coordinators: [b:8471]\n")->id(), settings->id()) << "stable";
  EXPECT_NE(Worker("{ coordinators: [a:8471], spill_dir: /x }\n")->id(), settings->id()) << "another on this host";
}

TEST_F(SettingsTest, TheEnvironmentAlone) {
  const SettingsOptions options = {EnvironmentOf({{"TIDEMARK_COORDINATORS", "a:8471, b:8471,"},
                                                  {"TIDEMARK_ID", "w1"},
                                                  {"TIDEMARK_SLOTS", "2"},
                                                  {"TIDEMARK_MEMORY", "512MiB"},
                                                  {"TIDEMARK_SPILL_DIR", "spill"},
                                                  {"TIDEMARK_METRICS_LISTEN", "127.0.0.1:0"},
                                                  {"TIDEMARK_TLS_CA", "/ca.pem"},
                                                  {"TIDEMARK_ALLOW_ENV", "SHOP_DSN"},
                                                  {"TIDEMARK_ADBC_DRIVERS_DIR", "/opt/adbc"},
                                                  {"TIDEMARK_SECRETS_DIR", "${env:S}"},
                                                  {"S", "/secrets"}}),
                                   "h"};
  const auto settings = LoadWorkerSettings("", options);
  ASSERT_TRUE(settings.ok()) << settings.status();
  EXPECT_THAT(settings->coordinators(), ElementsAre("a:8471", "b:8471"));
  EXPECT_EQ(settings->id(), "w1");
  EXPECT_EQ(settings->slots(), 2);
  EXPECT_EQ(settings->memory_bytes(), int64_t{512} << 20);
  EXPECT_EQ(settings->spill_dir(), (std::filesystem::current_path() / "spill").string());
  EXPECT_EQ(settings->metrics_listen(), "127.0.0.1:0");
  EXPECT_EQ(settings->tls().ca(), "/ca.pem");
  EXPECT_THAT(settings->allow_env(), ElementsAre("SHOP_DSN"));
  EXPECT_EQ(settings->secrets_dir(), "/secrets");
  EXPECT_EQ(settings->adbc_drivers_dir(), "/opt/adbc");
}

TEST_F(SettingsTest, TheEnvironmentWins) {
  const auto settings = Coordinator("store: sqlite:a.db\nlease_seconds: many\ntls: { cert: a, key: b }\n",
                                    {{"TIDEMARK_STORE", "postgresql://db/x"},
                                     {"TIDEMARK_LEASE_SECONDS", "9"},
                                     {"TIDEMARK_TLS_CERT", "/c.pem"},
                                     {"TIDEMARK_REDIS", ""}});
  ASSERT_TRUE(settings.ok()) << settings.status();
  EXPECT_EQ(settings->store(), "postgresql://db/x");
  EXPECT_EQ(settings->lease_seconds(), 9);
  EXPECT_EQ(settings->tls().cert(), "/c.pem");
  EXPECT_EQ(settings->tls().key(), directory_.File("b"));
}

TEST_F(SettingsTest, ErrorsHaveTheirPlaces) {
  EXPECT_THAT(Lines(Coordinator("stor: x\nlease_seconds: 0\nadmin_listen: 8470\n"
                                "tls: { cert: c.pem, keys: k.pem }\nredis: mysql://u:secret77@h\n")
                        .status()),
              ElementsAre("1:1: stor: unknown key; did you mean \"store\"?",
                          "1:1: store: missing: set it in the settings file, or as TIDEMARK_STORE",
                          "2:16: lease_seconds: expected a number from 2, found \"0\"",
                          "3:15: admin_listen: expected an address HOST:PORT, found \"8470\"",
                          "4:8: tls.cert: goes with tls.key, which is missing",
                          "4:21: tls.keys: unknown key; did you mean \"key\"?",
                          "5:1: redis: a job cache is redis://HOST:PORT"));
  EXPECT_THAT(
      Lines(Worker("coordinators: [a, b:0x1, c:70000]\nmemory: 1M\nstage: s3://b\nid: a/b\nslots: \"4\"\n").status()),
      ElementsAre("1:16: coordinators[0]: expected an address HOST:PORT, found \"a\"",
                  "1:19: coordinators[1]: expected an address HOST:PORT, found \"b:0x1\"",
                  "1:26: coordinators[2]: expected an address HOST:PORT, found \"c:70000\"",
                  "2:9: memory: expected a number of bytes such as 1GiB, found \"1M\"",
                  "3:1: stage: not available in this version: stage is local", testing::StartsWith("4:1: id: an id is"),
                  "5:8: slots: expected a whole number, without quotes"));
  EXPECT_THAT(Lines(Worker("coordinators: [a:0]\nmemory: 1MiB\n").status()),
              ElementsAre("1:1: coordinators: port 0 is no port to call", testing::StartsWith("2:9: memory: expected "
                                                                                              "at least 64.0 MiB")));
  EXPECT_THAT(Lines(Coordinator("- a\n").status()).at(0), HasSubstr("expected a mapping"));
  EXPECT_THAT(Lines(Coordinator("store: [").status()).at(0), HasSubstr("not YAML"));
  EXPECT_EQ(LoadCoordinatorSettings(directory_.File("none")).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(SettingsTest, ErrorsNameTheVariable) {
  const absl::Status status =
      Coordinator("store: nothing\nlease_second: 3\n", {{"TIDEMARK_STORE", "mysql://u:secret77@h/d"},
                                                        {"TIDEMARK_LEASE_SECONDS", "soon"},
                                                        {"TIDEMARK_REDIS", "${env:NONE}"},
                                                        {"TIDEMARK_TLS_CA", "/ca.pem"}})
          .status();
  EXPECT_THAT(Lines(status), testing::UnorderedElementsAre(
                                 "TIDEMARK_STORE: a metadata store is postgresql://HOST/DATABASE or sqlite:PATH",
                                 "TIDEMARK_LEASE_SECONDS: expected a whole number, found \"soon\"",
                                 "TIDEMARK_REDIS: the environment variable NONE is not set",
                                 "TIDEMARK_TLS_CA: goes with tls.cert and tls.key, which are missing",
                                 "2:1: lease_second: unknown key; did you mean \"lease_seconds\"?"));
  EXPECT_THAT(Lines(Worker("", {{"TIDEMARK_COORDINATORS", "a:1,b"}}).status()),
              ElementsAre("TIDEMARK_COORDINATORS: expected an address HOST:PORT, found \"b\""));
  const absl::Status missing = LoadWorkerSettings("", {EnvironmentOf({}), "h"}).status();
  EXPECT_EQ(missing.message(), "coordinators: missing: set it in the settings file, or as TIDEMARK_COORDINATORS");
}

TEST(SettingsTextTest, ListsEverySetting) {
  EXPECT_THAT(CoordinatorSettingsText(), HasSubstr("TIDEMARK_STORE, required\n"));
  EXPECT_THAT(CoordinatorSettingsText(), HasSubstr("TIDEMARK_LEASE_SECONDS, default 15\n"));
  EXPECT_THAT(WorkerSettingsText(), HasSubstr("TIDEMARK_TLS_CERT\n"));
}

class WorkerReferencesTest : public testing::Test {
 protected:
  WorkerReferencesTest() {
    std::filesystem::create_directories(directory_.File("secrets/..data"));
    directory_.Write("secrets/shop", "pa\n");
    directory_.Write("secrets/..data/crm", "pb");
    directory_.Write("outside", "secret77");
    std::filesystem::create_symlink("..data/crm", directory_.File("secrets/crm"));
    std::filesystem::create_symlink("../outside", directory_.File("secrets/link"));
    std::filesystem::create_directory_symlink("..", directory_.File("secrets/up"));
  }

  absl::StatusOr<ResolvedText> Resolve(const std::string& dsn) {
    return ResolveReferencesWithin(dsn, limits_, EnvironmentOf({{"SHOP", "pw"}, {"HOME_DIR", "secret77"}}));
  }
  std::string Refused(const std::string& dsn) {
    const auto resolved = Resolve(dsn);
    EXPECT_EQ(resolved.status().code(), absl::StatusCode::kInvalidArgument) << dsn;
    EXPECT_THAT(std::string(resolved.status().message()), Not(HasSubstr("secret77")));
    return std::string(resolved.status().message());
  }

  test::TempDir directory_;
  ReferenceLimits limits_ = {{"SHOP", "UNSET"}, directory_.File("secrets")};
};

TEST_F(WorkerReferencesTest, WithinTheLimits) {
  const auto resolved = Resolve("postgresql://u:${env:SHOP}${file:shop}${file:crm}@h/d");
  ASSERT_TRUE(resolved.ok()) << resolved.status();
  EXPECT_EQ(resolved->text, "postgresql://u:pwpapb@h/d");
  EXPECT_TRUE(resolved->from_reference);
  EXPECT_EQ(Resolve("${file:" + directory_.File("secrets/shop") + "}")->text, "pa");
  EXPECT_EQ(Resolve("${file:up/secrets/shop}")->text, "pa") << "where it leads counts";
  EXPECT_EQ(Resolve("sqlite:a$${b.db")->text, "sqlite:a${b.db");
}

TEST_F(WorkerReferencesTest, WhatIsOutsideIsRefused) {
  EXPECT_EQ(Refused("${env:HOME_DIR}"),
            "${env:HOME_DIR} cannot be resolved: the name is not in the worker's allow_env");
  EXPECT_EQ(Refused("${env:UNSET}"), "the environment variable UNSET is not set");
  for (const char* path : {"../outside", "link", "up/outside", "none/../../outside", "/etc/passwd", "", "."}) {
    EXPECT_THAT(Refused(absl::StrCat("${file:", path, "}")), testing::StartsWith(absl::StrCat("${file:", path, "}")));
  }
  EXPECT_THAT(Refused("${file:../outside}"), HasSubstr("is not in the worker's secrets_dir"));
  // Whether a file is there is nobody's business.
  EXPECT_EQ(Refused("${file:../outside}").substr(18), Refused("${file:../absent7}").substr(18));
  // A folder beside it whose name begins alike.
  std::filesystem::create_directory(directory_.File("secrets2"));
  directory_.Write("secrets2/x", "secret77");
  EXPECT_THAT(Refused("${file:../secrets2/x}"), HasSubstr("is not in"));
  limits_.directory = "";
  EXPECT_THAT(Refused("${file:shop}"), HasSubstr("has no secrets_dir"));
  limits_.directory = directory_.File("nowhere");
  EXPECT_THAT(Refused("${file:shop}"), HasSubstr("secrets_dir cannot be read"));
}

}  // namespace
}  // namespace tidemark
