// Secrets are nowhere but where they were given: every place that takes one holds a canary, everything goes right and
// wrong once, and all that Tidemark has written anywhere is searched.
#include <gmock/gmock.h>
#include <google/protobuf/io/gzip_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/secret/dsn.h"
#include "tests/integration/cluster.h"
#include "tests/integration/project.h"
#include "tests/support/postgres_server.h"
#include "tests/support/redis_server.h"
#include "tests/support/temp_dir.h"

namespace tidemark::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// Every canary begins so, with what neither a URL nor a shell spells in another way.
constexpr char kCanary[] = "cnry7";
// No secret: it stands in names and literals, and shows that a search finds what is there.
constexpr char kPlanted[] = "plntd7";

// A secret that a DSN has to encode.
std::string Canary(const std::string& place) { return absl::StrCat(kCanary, place, "/@ %"); }

// What `word` becomes on the ways a secret might take: as it is, in hexadecimal, percent-encoded and in base64,
// whatever stands before it.
std::vector<std::string> Forms(const std::string& word) {
  const std::string hex = absl::BytesToHexString(word);
  std::string percent;
  for (size_t i = 0; i < hex.size(); i += 2) absl::StrAppend(&percent, "%", hex.substr(i, 2));
  std::vector<std::string> forms = {word, hex, percent};
  for (size_t before = 0; before < 3; ++before) {
    // The bytes that share a character with their neighbours are left out.
    const std::string whole = std::string(before, ' ') + word;
    const std::string encoded = absl::Base64Escape(whole);
    const size_t begin = before == 0 ? 0 : before + 1;
    forms.push_back(encoded.substr(begin, whole.size() * 4 / 3 - begin));
  }
  return forms;
}

// The forms of `word` that stand in `text`, with what is around them.
std::vector<std::string> Found(const std::string& word, const std::string& text) {
  std::vector<std::string> found;
  for (const std::string& form : Forms(word)) {
    const size_t at = text.find(form);
    if (at != text.npos) found.push_back(text.substr(at < 60 ? 0 : at - 60, form.size() + 120));
  }
  return found;
}

// A value with what it holds compressed, gzip as its last part, in plain.
std::string Inflated(const std::string& value) {
  const size_t at = value.find("\x1f\x8b\x08");
  if (at == value.npos) return value;
  google::protobuf::io::ArrayInputStream compressed(value.data() + at, static_cast<int>(value.size() - at));
  google::protobuf::io::GzipInputStream stream(&compressed);
  std::string plain = value.substr(0, at);
  const void* part = nullptr;
  for (int size = 0; stream.Next(&part, &size);) plain.append(static_cast<const char*>(part), size);
  return plain;
}

std::string Content(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// Every file below a folder, by name and content.
std::string Files(const fs::path& folder) {
  std::string all;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
    absl::StrAppend(&all, entry.path().string(), "\n");
    if (entry.is_regular_file()) absl::StrAppend(&all, Content(entry.path()), "\n");
  }
  return all;
}

// Every row of every table of a database, of `schema` alone if one is named.
std::string Rows(const std::string& dsn, const std::string& schema = "") {
  std::string all;
  for (const auto& table : Query(dsn, absl::StrCat("SELECT format('%I.%I', schemaname, relname) FROM "
                                                   "pg_stat_user_tables WHERE '",
                                                   schema, "' IN ('', schemaname)"))) {
    for (const auto& row : Query(dsn, absl::StrCat("SELECT t::text FROM ", table[0], " t"))) {
      absl::StrAppend(&all, table[0], ": ", row[0], "\n");
    }
  }
  return all;
}

TEST(SecretSearchTest, FindsEveryForm) {
  for (const char* before : {"", "a", "ab", "abc"}) {
    const std::string text = absl::StrCat(before, kCanary, "x/@");
    EXPECT_THAT(Found(kCanary, "log: " + text), Not(IsEmpty()));
    EXPECT_THAT(Found(kCanary, "postgresql://u:" + PercentEncode(text)), Not(IsEmpty()));
    EXPECT_THAT(Found(kCanary, "bytea: \\x" + absl::BytesToHexString(text)), Not(IsEmpty()));
    EXPECT_THAT(Found(kCanary, "Authorization: " + absl::Base64Escape(text)), Not(IsEmpty())) << before;
    EXPECT_THAT(Found(kCanary, "token=" + absl::WebSafeBase64Escape(text)), Not(IsEmpty())) << before;
  }
  EXPECT_THAT(Found(kCanary, "password=***"), IsEmpty());
}

class SecretsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const PostgresServer& server = PostgresServer::Shared();
    // Those with a password must give it.
    std::vector<std::string> rules;
    for (const char* role : {"reader", "asker", "writer", "archivist", "denied", "keeper"}) {
      Exec(server.Dsn(), absl::StrCat("CREATE ROLE ", role, " LOGIN ", std::string(role) == "denied" ? "" : "SUPERUSER",
                                      " PASSWORD '", Canary(role), "'"));
      rules.push_back(absl::StrCat("('host all ", role, " 127.0.0.1/32 scram-sha-256')"));
    }
    Exec(server.Dsn(),
         absl::StrCat("COPY (VALUES ", absl::StrJoin(rules, ", "), ", ('host all all 127.0.0.1/32 trust')) TO '",
                      Scalar(server.Dsn(), "SHOW hba_file"), "'"));
    Exec(server.Dsn(), "SELECT pg_reload_conf()");
  }

  SecretsTest() {
    Exec(shop_, absl::StrCat("CREATE TABLE items (id int PRIMARY KEY, payload text); INSERT INTO items SELECT g, '",
                             kPlanted, "' || g FROM generate_series(1, 100) g"));
    directory_.Write("archive", Dsn("archivist", Canary("archivist"), archive_) + "\n");
  }

  // As `role` logs in with `password`, spelled as a URL has it.
  std::string Dsn(const std::string& role, const std::string& password, const std::string& dsn) const {
    return absl::StrCat("postgresql://", role, ":", PercentEncode(password), "@", dsn.substr(dsn.find('@') + 1));
  }

  std::string Yaml() const {
    const auto job = [](const std::string& name, const std::string& source, const std::string& target) {
      return absl::StrCat("  ", name, ":\n    source: { ", source, " }\n    target: { connection: ", target,
                          ", table: public.", name, ", strategy: full }\n    retry: { attempts: 1 }\n");
    };
    const std::string table = ", table: public.items";
    return absl::StrCat(
        "connections:\n  shop: { dsn: \"", Dsn("reader", Canary("reader"), shop_), "\" }\n",
        "  asked: { dsn: \"postgresql://asker@", shop_.substr(shop_.find('@') + 1),
        "?password=", PercentEncode(Canary("asker")), "\" }\n",
        "  warehouse: { dsn: \"postgresql://writer:${env:WAREHOUSE_PASSWORD}@",
        warehouse_.substr(warehouse_.find('@') + 1), "\" }\n", "  archive: { dsn: \"${file:archive}\" }\n",
        "  wrong: { dsn: \"", Dsn("reader", Canary("wrong"), shop_), "\" }\n", "  mirrored: { dsn: \"",
        Dsn("reader", Canary("reader"), shop_), "\", replicas: [\"", Dsn("reader", Canary("replica"), warehouse_),
        "\"] }\n", "  denied: { dsn: \"", Dsn("denied", Canary("denied"), warehouse_), "\" }\n", "jobs:\n",
        job(absl::StrCat(kPlanted, "done"), "connection: shop" + table, "warehouse"),
        job("archived", "connection: asked" + table, "archive"),
        job("refused", "connection: wrong" + table, "warehouse"),
        job("mirrored", "connection: mirrored" + table, "warehouse"),
        job("closed", "connection: shop" + table, "denied"),
        job("failing",
            absl::StrCat("connection: shop, query: \"SELECT id, 1 / (id - 50) AS x, '", kPlanted,
                         "' AS literal FROM items\""),
            "warehouse"));
  }

  std::map<std::string, std::string> Environment() const {
    return {{"WAREHOUSE_PASSWORD", PercentEncode(Canary("writer"))}};
  }

  // What a command said, run in the project's folder.
  std::string Command(std::vector<std::string> words) const {
    words.insert(words.begin(), TidemarkProgram());
    ProcessOptions options;
    options.environment = Environment();
    options.working_directory = directory_.path();
    const ProcessResult result = *RunProcess(words, kClusterPatience, options);
    return result.out + result.err;
  }

  // That `text` has no secret, and is one where a search finds something.
  static void ExpectNone(const std::string& place, const std::string& text) {
    EXPECT_THAT(Found(kCanary, text), IsEmpty()) << place;
    EXPECT_THAT(Found(kPlanted, text), Not(IsEmpty())) << place << ": " << text.substr(0, 4000);
  }

  PostgresServer& server_ = PostgresServer::Shared();
  const std::string shop_ = server_.NewDatabase();
  const std::string warehouse_ = server_.NewDatabase();
  const std::string archive_ = server_.NewDatabase();
  // Of the project: its file, the files that it refers to, and what Tidemark leaves beside them.
  const TempDir directory_;
};

TEST_F(SecretsTest, StayOutOfWhatACommandLeavesAndSays) {
  directory_.Write("tidemark.yaml", Yaml());
  std::string said;
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"validate", "tidemark.yaml"},
           {"plan", "tidemark.yaml"},
           {"plan", "tidemark.yaml", "-o", "json"},
           {"connections", "test", "--project", "tidemark.yaml"},
           {"run", "tidemark.yaml"},
           {"run", "tidemark.yaml", "-o", "json"},
           {"runs", "list", "--project", "tidemark.yaml", "-o", "json"},
           {"runs", "get", "failing@latest", "--project", "tidemark.yaml"},
           {"runs", "get", "refused@latest", "--project", "tidemark.yaml", "-o", "json"},
           {"runs", "get", "mirrored@latest", "--project", "tidemark.yaml", "-o", "json"},
           {"apply", "tidemark.yaml", "--server", "127.0.0.1:1"},
           {"migrate", "--store", absl::StrCat("postgresql://keeper:", kCanary, "@127.0.0.1:1/", kPlanted)},
           {"migrate", "--store", absl::StrCat("mysql://keeper:", kCanary, "@127.0.0.1:1/", kPlanted)},
           {"migrate", "--store", absl::StrCat("host=127.0.0.1 password=", kCanary)}}) {
    said += Command(words);
  }
  EXPECT_THAT(said, HasSubstr("division by zero"));
  EXPECT_THAT(said, HasSubstr("password authentication failed"));
  EXPECT_THAT(said, HasSubstr("GRANT "));
  // What cannot be read, or is for a later version.
  for (const std::string& line : {
           absl::StrCat("dsn: \"host=h password=", Canary("keywords"), "\""),
           absl::StrCat("dsn: \"postgresql://u:", kCanary, "/x@h/d\""),
           absl::StrCat("dsn: \"postgresql://u:", kCanary, "%zz@h/d\""),
           absl::StrCat("dsn: \"postgresql://u@h/d?pasword=", kCanary, "\""),
           absl::StrCat("dsn: \"mysql://u:", kCanary, "@h/d\""),
           absl::StrCat("dsn: \"postgresql://h/d\", replicas: [\"postgresql://u:", kCanary, "/x@h/d\"]"),
           absl::StrCat("dsn: \"sqlite:x.db\", password: \"", kCanary, "\""),
           absl::StrCat("dsn: \"${env:WAREHOUSE_PASSWORD}\""),
           absl::StrCat("dsn: \"sqlite:x.db\", max_connections: \"${env:WAREHOUSE_PASSWORD}\""),
       }) {
    directory_.Write("bad.yaml", absl::StrCat("connections:\n  a: { ", line, " }\njobs:\n  ", kPlanted,
                                              ":\n    source: { connection: a, table: t }\n    target: { connection: "
                                              "b, table: t, strategy: full }\n    transform: { ref: steps, steps: [ { "
                                              "mask: { email: hmac-sha256, key: \"",
                                              kCanary, "\" } } ] }\n"));
    const std::string refused = Command({"validate", "bad.yaml"});
    EXPECT_THAT(refused, HasSubstr("bad.yaml:2:")) << line;
    said += refused;
  }
  ExpectNone("stdout and stderr", said);
  ExpectNone("the state beside the project file", Files(directory_.File(".tidemark")));
  ExpectNone("the target's control tables", Rows(warehouse_, "tidemark"));
}

TEST_F(SecretsTest, StayOutOfWhatAClusterLeavesAndSays) {
  const TempDir secrets;
  fs::copy(directory_.File("archive"), secrets.File("archive"));
  const std::string store = server_.NewDatabase();
  const auto redis = RedisServer::Start(absl::StrCat(kCanary, "redis")).value();
  std::map<std::string, std::string> environment = Environment();
  environment["TIDEMARK_ALLOW_ENV"] = "WAREHOUSE_PASSWORD";
  environment["TIDEMARK_SECRETS_DIR"] = secrets.path();
  Cluster cluster({.store = Dsn("keeper", Canary("keeper"), store),
                   .redis = redis->Url(),
                   .workers = 1,
                   .worker_environment = std::move(environment)});
  cluster.Apply(Yaml());
  EXPECT_EQ(cluster.FinishRun(cluster.StartRun(absl::StrCat(kPlanted, "done")))["status"], "success");
  EXPECT_EQ(cluster.FinishRun(cluster.StartRun("archived"))["status"], "success");
  for (const char* job : {"refused", "mirrored", "closed", "failing"}) {
    EXPECT_EQ(cluster.FinishRun(cluster.StartRun(job))["status"], "failed") << job;
  }
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"connections", "list", "-o", "json"},
                                             {"connections", "test"},
                                             {"jobs", "list", "-o", "json"},
                                             {"jobs", "get", "failing", "-o", "json"},
                                             {"runs", "list", "-o", "json"},
                                             {"runs", "get", "failing@latest", "-o", "yaml"},
                                             {"runs", "get", "refused@latest", "-o", "json"},
                                             {"runs", "get", "mirrored@latest", "-o", "json"},
                                             {"workers", "list", "-o", "json"},
                                             {"status", "-o", "json"}}) {
    cluster.Command(words);
  }
  ExpectNone("the coordinator's metrics", Cluster::Metrics(cluster.coordinator()));
  EXPECT_THAT(Found(kCanary, Cluster::Metrics(cluster.worker(0))), IsEmpty());
  std::string cached;
  for (const absl::string_view key : absl::StrSplit(redis->Command({"KEYS", "*"}), '\n')) {
    absl::StrAppend(&cached, key, Inflated(redis->Command({"GET", std::string(key)})));
  }
  ExpectNone("Redis", cached);
  for (Process* process : {&cluster.coordinator(), &cluster.worker(0)}) {
    process->Signal(SIGTERM);
    EXPECT_EQ(process->Wait(kClusterPatience).value_or(-1), 0);
  }
  ExpectNone("logs and answers", cluster.Output());
  ExpectNone("the metadata store", Rows(store));
  ExpectNone("the target's control tables", Rows(warehouse_, "tidemark"));
  // The project file that was applied stands there too.
  EXPECT_THAT(Found(kCanary, Files(cluster.directory() + "/spill-w0")), IsEmpty());
}

}  // namespace
}  // namespace tidemark::test
