#!/usr/bin/env python3
"""Checks the house rules of the tree: who includes whom, where vendors and time may appear, names, unfinished work.

    scripts/tidy.py [--links build/dev/link_graph.txt]

Prints `file:line: what is wrong` and exits 1 if anything is. Every exception stands in EXCEPTIONS, with its reason.
"""
import argparse
import fnmatch
import pathlib
import re
import subprocess
import sys

from link_graph import LinkGraph

ROOT = pathlib.Path(__file__).resolve().parent.parent

# A file may include from its own folder and from these. The first pattern that fits the file counts.
MAY_INCLUDE = [
    ("proto/*", []),
    ("common/base/*", []),
    ("common/model/*", ["common/base/"]),
    # A server counts its calls.
    ("common/rpc/*", ["common/base/", "common/model/", "common/telemetry/"]),
    ("common/*", ["common/base/", "common/model/"]),
    # One way: store and schedule know no one, and control, which serves the coordinator, is known by no one.
    ("coordinator/store/*", ["common/"]),
    ("coordinator/schedule/*", ["common/"]),
    ("coordinator/cache/*", ["common/", "coordinator/store/"]),
    ("coordinator/plan/*", ["common/", "coordinator/store/"]),
    ("coordinator/dispatch/*", ["common/", "coordinator/store/", "coordinator/plan/"]),
    ("coordinator/run/*", ["common/", "coordinator/store/", "coordinator/schedule/", "coordinator/plan/", "coordinator/dispatch/"]),
    ("coordinator/*", ["common/", "coordinator/"]),
    ("worker/connectors/builtin.cc", ["common/", "worker/"]),
    # A connector knows the interfaces and itself, never another connector; those that speak ADBC, its one wrapper too.
    ("worker/connectors/duckdb/*", ["common/", "worker/batch/", "worker/connector/", "worker/connectors/adbc/"]),
    ("worker/connectors/*", ["common/", "worker/batch/", "worker/connector/"]),
    # What works for every connector names none; only wiring reads the list of them.
    ("worker/main.cc", ["common/", "worker/"]),
    ("worker/*", ["common/", "worker/agent/", "worker/batch/", "worker/connector/", "worker/task/", "worker/transform/"]),
    ("cli/*", ["cli/", "common/", "coordinator/", "worker/"]),
    ("tests/*", ["cli/", "common/", "coordinator/", "tests/", "worker/"]),
    ("bench/*", ["common/", "coordinator/", "tests/support/", "worker/"]),
]
TREE = re.compile(r"(bench|cli|common|coordinator|proto|tests|worker)/")

# Header of a vendor -> the word that names a file for it.
VENDORS = [
    (re.compile(r"libpq-fe\.h|libpq/|pqxx/|pqxx$"), "postgres"),
    (re.compile(r"sqlite3\.h"), "sqlite"),
    (re.compile(r"arrow/"), "arrow"),
    (re.compile(r"parquet/"), "parquet"),
    (re.compile(r"(grpc|grpcpp|grpc\+\+)/|.*\.grpc\.pb\.h$"), "grpc"),
    (re.compile(r"hiredis"), "redis"),
    (re.compile(r"mysql|mariadb"), "mariadb"),
    (re.compile(r"duckdb"), "duckdb"),
    (re.compile(r"arrow-adbc/"), "adbc"),
    (re.compile(r"yaml-cpp/"), "yaml"),
    (re.compile(r"xxhash"), "xxhash"),
    (re.compile(r"CLI/"), "cli"),
    (re.compile(r"openssl/"), "openssl"),
    (re.compile(r"sodium"), "sodium"),
    (re.compile(r"prometheus/"), "prometheus"),
]
# No header of ours brings these to its readers.
NEVER_IN_HEADERS = {"adbc", "arrow", "duckdb", "grpc", "postgres", "prometheus", "redis", "sodium"}

# Folders whose code is step(event) -> effects: a seed replays it.
PURE = ["coordinator/schedule/", "coordinator/plan/", "coordinator/run/", "coordinator/dispatch/", "worker/agent/", "worker/task/"]
PRODUCT = ["common/", "coordinator/", "worker/", "cli/"]

REAL_TIME = re.compile(
    r"\babsl::(Now|SleepFor|GetCurrentTimeNanos)\b|\b(system|steady|high_resolution)_clock\b|\bsleep_(for|until)\b"
    r"|\b(usleep|nanosleep|clock_gettime|gettimeofday)\s*\(|(?<![\w.>:])(std::)?time\s*\(\s*(nullptr|NULL|0)\s*\)")
CHANCE = re.compile(r"\babsl::(Insecure)?BitGen\b|\brandom_device\b|\bmt19937|\bminstd_rand\b|(?<![\w.>:])(std::)?s?rand\s*\(")
THREADS = re.compile(r"\bstd::(thread|jthread|async|condition_variable)\b|\bpthread_create\b|\b(absl::CondVar|AwaitWith|WaitWith)")

WORKERS_VENDOR = re.compile(r"arrow|parquet|adbc|duckdb|mariadb", re.IGNORECASE)

METRIC_NAME = re.compile(r'"(tidemark|grpc_server)_\w+_(total|seconds|bytes|info|limit|queued|active|rows|leader)"')

# The names that say nothing; alone or as the last word.
EMPTY_NAME = re.compile(r"(^|_)(utils?|helpers?|managers?|misc|types)\.(h|cc|py|proto)$", re.IGNORECASE)
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b|not (yet )?imple" r"mented yet")
MACHINE_PATH = re.compile(r"(?<![\w.$}~-])/(home|root|work|Users)/\w")
REGISTRY = re.compile(
    r"(pypi|pythonhosted|npmjs|crates|maven|debian|docker|quay|ghcr)\.(org|io|com)\b|proxy\.golang\." r"org", re.IGNORECASE)

# (rule, file pattern, reason).
EXCEPTIONS = [
    ("time", "common/base/clock.cc", "the one door to real time"),
    ("chance", "common/base/rng.cc", "the one door to real chance"),
    ("time", "common/base/rng.cc", "a seed where the kernel gives none"),
    ("time", "*/grpc_*", "gRPC's deadlines are on the system's clock"),
    ("time", "worker/agent/task_runner.cc", "the bound of a wait on real threads, after which the pure step is asked again"),
    ("metric", "common/telemetry/metrics.h", "the one place that names metrics"),
    ("threads", "coordinator/run/coordinator.*", "the adapter that lets many threads call the core, and wait for it"),
    ("threads", "coordinator/run/ticker.*", "the adapter that gives the coordinator its ticks"),
    ("threads", "worker/agent/fake_coordinator.h", "for tests: it holds calls back until a test lets them go"),
    ("threads", "worker/agent/task_runner.*", "the adapter that runs the steps of a task on threads"),
    ("threads", "worker/agent/worker_agent.*", "the adapter that runs the agent's core on threads"),
    ("vendor:arrow", "worker/connectors/*.cc", "connectors exchange Arrow batches: a converter is named for the store it converts"),
    ("registry", "scripts/tidy*.py", "the words it looks for"),
    ("unfinished", "scripts/tidy_test.py", "the words it plants"),
    ("machine-path", "scripts/tidy_test.py", "the paths it plants"),
]


class Findings(list):
    def add(self, rule, path, line, message):
        if not any(rule == r and fnmatch.fnmatch(path, pattern) for r, pattern, _ in EXCEPTIONS):
            self.append(f"{path}:{line}: {message} [{rule}]")


def without_comments(text):
    """The code with comments and string literals blanked, its lines kept."""
    blank = lambda match: re.sub(r"[^\n]", " ", match.group(0))
    return re.sub(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.DOTALL)


def is_test(path):
    return path.startswith(("tests/", "bench/")) or re.search(r"_test(ing)?(_\w+)?\.(cc|h)$", path) is not None


def words_of(path):
    """The words a file is named for: `worker/connectors/postgres/copy.cc` is not, `postgres_copy.cc` is, for postgres."""
    return re.split(r"[_.]", pathlib.PurePosixPath(path).name)


def check_layers(path, included, line, findings):
    if not TREE.match(included):
        return
    folder = str(pathlib.PurePosixPath(path).parent) + "/"
    if included.startswith("proto/"):
        findings.add("layers", path, line, f'include generated code as "tidemark/v1/…", not "{included}"')
        return
    if included.startswith(folder):
        return
    if is_test(path) and included.startswith("tests/"):
        return
    allowed = next((prefixes for pattern, prefixes in MAY_INCLUDE if fnmatch.fnmatch(path, pattern)), None)
    if allowed is not None and not included.startswith(tuple(allowed)):
        findings.add("layers", path, line, f"{folder} must not include {included}")


def check_vendors(path, included, line, findings):
    for header, word in VENDORS:
        if not header.match(included):
            continue
        if path.endswith(".h") and word in NEVER_IN_HEADERS:
            findings.add("vendor-in-header", path, line, f"a header must not bring {included} to its readers")
        elif word not in words_of(path) and not is_test(path) and not path.startswith(f"{word}/"):
            findings.add(f"vendor:{word}", path, line, f"{included} belongs into files named {word}_*")


def check_cpp(path, text, findings):
    if path.endswith(".h") and "#pragma once" not in text:
        findings.add("pragma-once", path, 1, "no #pragma once")
    for number, line in enumerate(text.splitlines(), 1):
        include = re.match(r'\s*#\s*include\s*["<]([^">]+)[">]', line)
        if include:
            if ".." in include.group(1).split("/"):
                findings.add("layers", path, number, "include from the root")
            check_layers(path, include.group(1), number, findings)
            check_vendors(path, include.group(1), number, findings)
    code = without_comments(text)
    product = path.startswith(tuple(PRODUCT)) and not is_test(path)
    pure = path.startswith(tuple(PURE)) and "grpc" not in words_of(path)
    for number, line in enumerate(text.splitlines(), 1):
        if product and METRIC_NAME.search(line):
            findings.add("metric", path, number, "a metric's name: take the family of common/telemetry/metrics.h")
    for number, line in enumerate(code.splitlines(), 1):
        if product and REAL_TIME.search(line):
            findings.add("time", path, number, "real time: take a tidemark::Clock")
        if product and CHANCE.search(line):
            findings.add("chance", path, number, "real chance: take a tidemark::Rng")
        if pure and product and THREADS.search(line):
            findings.add("threads", path, number, "a thread in pure code: adapters hold the threads")
        if path.endswith(".h") and re.search(r"\busing\s+namespace\b", line):
            findings.add("using-namespace", path, number, "using namespace in a header")


def check(files):
    """`files`: path from the root -> text. The findings, in order."""
    findings = Findings()
    for path, text in sorted(files.items()):
        if EMPTY_NAME.search(pathlib.PurePosixPath(path).name):
            findings.add("name", path, 1, "a name that says nothing: what is in it?")
        for number, line in enumerate(text.splitlines(), 1):
            for rule, pattern, message in (("unfinished", UNFINISHED, "unfinished work"),
                                           ("machine-path", MACHINE_PATH, "a path of one machine"),
                                           ("registry", REGISTRY, "the host name of a registry")):
                if pattern.search(line):
                    findings.add(rule, path, number, message)
        if path.endswith((".h", ".cc")):
            check_cpp(path, text, findings)
    return findings


def check_links(text):
    """`text`: link_graph.txt. The coordinator's closure has nothing of the worker and none of its vendors, and so on down."""
    findings = Findings()
    graph = LinkGraph(text)
    programs_of_tests = set(graph.tests())
    for target, folder in graph.folders.items():
        if target in programs_of_tests:
            continue
        for linked, way in graph.closure(target).items():
            where = graph.folders.get(linked, "")
            if folder.startswith("coordinator/"):
                forbidden = where.startswith(("worker/", "cli/")) or WORKERS_VENDOR.search(linked)
            elif folder.startswith("worker/"):
                forbidden = where.startswith(("coordinator/", "cli/"))
            else:
                forbidden = folder.startswith(("common/", "proto/")) and where.startswith(("coordinator/", "worker/", "cli/"))
            if forbidden:
                findings.add("links", folder + "CMakeLists.txt", 1, f"{folder} must not link {linked}: {way}")
    return findings


def tree():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True, capture_output=True)
    files = {}
    for name in listed.stdout.decode().split("\0"):
        path = ROOT / name
        if name and path.is_file() and not path.is_symlink():
            try:
                files[name] = path.read_text()
            except UnicodeDecodeError:
                continue
    return files


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--links", type=pathlib.Path, help="link_graph.txt of a configured build")
    arguments = parser.parse_args()
    findings = check(tree())
    if arguments.links:
        findings += check_links(arguments.links.read_text())
    print("\n".join(findings) if findings else "tidy: nothing found")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
