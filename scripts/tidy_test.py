#!/usr/bin/env python3
"""Plants a violation of every rule of tidy.py and looks whether it is found, and one lookalike of each that is none."""
import unittest

import tidy


def rules(path, text):
    if path.endswith(".h"):
        text = "#pragma once\n" + text
    return [finding.rsplit("[", 1)[1].rstrip("]") for finding in tidy.check({path: text})]


class TidyTest(unittest.TestCase):
    def assert_found(self, rule, path, text):
        self.assertEqual(rules(path, text), [rule], f"{path}: {text}")

    def assert_clean(self, path, text):
        self.assertEqual(rules(path, text), [], f"{path}: {text}")

    def test_layers(self):
        for path, included in [
            ("common/base/a.cc", "common/model/b.h"),
            ("common/model/a.cc", "common/config/b.h"),
            ("common/config/a.cc", "common/secret/b.h"),
            ("common/model/a.cc", "coordinator/plan/b.h"),
            ("coordinator/run/a.cc", "worker/task/b.h"),
            ("coordinator/run/a_test.cc", "worker/task/b.h"),
            ("coordinator/run/a.cc", "cli/b.h"),
            ("coordinator/cache/a.cc", "coordinator/run/b.h"),
            ("worker/task/a.cc", "coordinator/run/b.h"),
            ("worker/task/a.cc", "worker/connectors/builtin.h"),
            ("worker/connectors/sqlite/sqlite_a.cc", "worker/connectors/postgres/postgres_b.h"),
            ("worker/connectors/sqlite/sqlite_a.cc", "worker/connectors/adbc/adbc_database.h"),
            ("worker/connectors/adbc/adbc_a.cc", "worker/connectors/duckdb/duckdb_b.h"),
            ("worker/task/a.cc", "tests/support/temp_dir.h"),
            ("worker/task/a.cc", "proto/tidemark/v1/spec.pb.h"),
        ]:
            self.assert_found("layers", path, f'#include "{included}"\n')
        self.assert_found("layers", "worker/task/a.cc", '#include "../batch/chunk.h"\n')
        for path, included in [
            ("common/model/a.cc", "common/base/b.h"),
            ("common/config/a.cc", "common/model/b.h"),
            ("coordinator/run/a.cc", "coordinator/store/b.h"),
            ("worker/task/a.cc", "worker/batch/chunk.h"),
            ("worker/task/a_test.cc", "tests/support/temp_dir.h"),
            ("worker/connectors/builtin.cc", "worker/connectors/postgres/postgres_connector.h"),
            ("worker/connectors/duckdb/duckdb_a.cc", "worker/connectors/adbc/adbc_database.h"),
            ("cli/a.cc", "worker/agent/b.h"),
            ("worker/task/a.cc", "tidemark/v1/spec.pb.h"),
        ]:
            self.assert_clean(path, f'#include "{included}"\n')

    def test_vendors(self):
        for path, included, word in [
            ("worker/task/move.cc", "libpq-fe.h", "postgres"),
            ("coordinator/store/store.cc", "pqxx/pqxx", "postgres"),
            ("worker/task/move.cc", "sqlite3.h", "sqlite"),
            ("worker/task/move.cc", "arrow/array.h", "arrow"),
            ("worker/agent/agent.cc", "grpcpp/grpcpp.h", "grpc"),
            ("worker/agent/agent.cc", "tidemark/v1/worker_control.grpc.pb.h", "grpc"),
            ("coordinator/cache/cache.cc", "hiredis/hiredis.h", "redis"),
            ("common/secret/sealing.cc", "sodium.h", "sodium"),
            ("common/config/config.cc", "yaml-cpp/yaml.h", "yaml"),
            ("worker/connectors/postgres/postgres_a.cc", "sqlite3.h", "sqlite"),
            ("common/telemetry/metric_registry.cc", "prometheus/counter.h", "prometheus"),
            ("worker/connectors/duckdb/duckdb_a.cc", "arrow-adbc/adbc.h", "adbc"),
        ]:
            self.assert_found(f"vendor:{word}", path, f"#include <{included}>\n")
        for path, included in [
            ("worker/connectors/postgres/postgres_a.cc", "libpq-fe.h"),
            ("worker/connectors/postgres/postgres_a.cc", "arrow/array.h"),
            ("coordinator/store/sqlite_store.cc", "sqlite3.h"),
            ("worker/batch/arrow_schema.cc", "arrow/type.h"),
            ("worker/connectors/adbc/adbc_status.cc", "arrow-adbc/adbc.h"),
            ("worker/batch/spill_test.cc", "arrow/array.h"),
        ]:
            self.assert_clean(path, f"#include <{included}>\n")

    def test_vendors_never_reach_readers_of_a_header(self):
        for path, included in [("worker/connectors/postgres/postgres_a.h", "libpq-fe.h"), ("worker/batch/arrow_a.h", "arrow/api.h"),
                               ("worker/agent/grpc_a.h", "grpcpp/channel.h"), ("common/secret/sodium_a.h", "sodium.h"),
                               ("coordinator/cache/redis_a.h", "hiredis/hiredis.h"),
                               ("worker/connectors/adbc/adbc_a.h", "arrow-adbc/adbc.h"),
                               ("worker/agent/grpc_a.h", "tidemark/v1/worker_control.grpc.pb.h")]:
            self.assert_found("vendor-in-header", path, f"#include <{included}>\n")

    def test_time_chance_and_threads(self):
        for rule, path, text in [
            ("time", "coordinator/plan/a.cc", "auto t = absl::Now();\n"),
            ("time", "worker/connectors/postgres/postgres_a.cc", "absl::SleepFor(absl::Seconds(1));\n"),
            ("time", "common/model/a.cc", "std::this_thread::sleep_for(x);\n"),
            ("time", "cli/a.cc", "auto t = std::chrono::system_clock::now();\n"),
            ("time", "worker/task/a.cc", "auto t = std::time(nullptr);\n"),
            ("chance", "coordinator/dispatch/a.cc", "absl::BitGen gen;\n"),
            ("chance", "worker/task/a.cc", "int x = rand();\n"),
            ("threads", "coordinator/run/a.cc", "std::thread t(f);\n"),
            ("threads", "worker/agent/agent_core.cc", "std::condition_variable c;\n"),
        ]:
            self.assert_found(rule, path, text)
        for path, text in [
            ("common/base/clock.cc", "return absl::Now();\n"),
            ("coordinator/plan/a.cc", "// Not absl::Now(): a seed replays this.\n"),
            ("coordinator/plan/a.cc", 'Say("call time(nullptr)");\n'),
            ("coordinator/plan/a.cc", "clock->time(0); operand(1);\n"),
            ("worker/batch/spill.cc", "std::thread t(f);\n"),
            ("coordinator/run/a_test.cc", "std::thread t(f);\n"),
        ]:
            self.assert_clean(path, text)

    def test_metrics_are_named_in_one_place(self):
        self.assert_found("metric", "worker/agent/a.cc", 'Counter("tidemark_rows_total");\n')
        for path, text in [("common/telemetry/metrics.h", '#pragma once\nX k = {"tidemark_rows_total"};\n'),
                           ("worker/agent/a.cc", 'Savepoint("tidemark_read");\n'),
                           ("worker/agent/a_test.cc", 'HasSubstr("tidemark_rows_total");\n')]:
            self.assert_clean(path, text)

    def test_names(self):
        for name in ["utils.h", "string_util.cc", "test_helpers.h", "job_manager.cc", "misc.cc", "types.h", "row_types.h"]:
            self.assert_found("name", f"common/base/{name}", "")
        for name in ["prototypes.h", "utility_meter.cc", "manager_test.cc"]:
            self.assert_clean(f"common/base/{name}", "")

    def test_unfinished_paths_and_hosts(self):
        for rule, text in [("unfinished", "// TODO: finish\n"), ("unfinished", "// FIXME\n"),
                           ("machine-path", 'Open("/home/me/file");\n'), ("machine-path", "see /work/main\n"),
                           ("registry", "from https://pypi.org/simple\n")]:
            self.assert_found(rule, "docs/a.md", text)
        for text in ["a to-do list\n", "worker/main.cc and ./work/x\n", "a crate\n"]:
            self.assert_clean("docs/a.md", text)

    def test_headers(self):
        self.assertIn("[pragma-once]", tidy.check({"common/base/a.h": "int x;\n"})[0])
        self.assert_found("using-namespace", "common/base/a.h", "using namespace std;\n")


class LinksTest(unittest.TestCase):
    GRAPH = ("tidemark_base\tcommon/base\tabsl::status\n"
             "tidemark_chunk\tworker/batch\ttidemark_base tidemark_arrow\n"
             "tidemark_run\tcoordinator/run\t{run}\n"
             "tidemark_plan\tcoordinator/plan\t{plan}\n"
             "tidemark_task\tworker/task\t{task}\n"
             "tidemark_cli\tcli\ttidemark_run tidemark_task\n")

    def found(self, run="tidemark_plan", plan="tidemark_base", task="tidemark_chunk"):
        return len(tidy.check_links(self.GRAPH.format(run=run, plan=plan, task=task)))

    def test_closure(self):
        self.assertEqual(self.found(), 0)
        self.assertEqual(self.found(plan="tidemark_arrow"), 2)  # The planner, and the run that links it.
        self.assertEqual(self.found(run="$<LINK_ONLY:tidemark_chunk>"), 2)  # The chunk, and its Arrow.
        self.assertEqual(self.found(task="tidemark_plan"), 1)


if __name__ == "__main__":
    unittest.main()
