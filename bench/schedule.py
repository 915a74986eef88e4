#!/usr/bin/env python3
"""How a coordinator bears many schedules: the lag of their fires, and what it takes while nothing is due.

Starts a PostgreSQL for the metadata and one coordinator, applies --jobs jobs that fire once a year and reads the coordinator's
CPU over --seconds; then lets every job fire each minute, for --minutes of them, and reads tidemark_schedule_lag_seconds. No
worker runs: what fires is queued, and the next fires of the same jobs are recorded as skipped, which costs the coordinator the most.

    bench/schedule.py [--jobs N] [--minutes N] [--seconds N]
"""
import argparse
import base64
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request

from support.postgres import AS_POSTGRES, Server

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = ROOT / "build/bin"


def project(jobs, cron):
    lines = ["connections:", "  source: { dsn: 'postgresql://nobody@127.0.0.1:9/source' }",
             "  target: { dsn: 'postgresql://nobody@127.0.0.1:9/target' }", "jobs:"]
    for i in range(jobs):
        lines += [f"  job-{i:05}:", f"    schedule: '{cron}'",
                  f"    source: {{ connection: source, table: public.t{i}, watermark: updated_at }}",
                  f"    target: {{ connection: target, table: public.t{i}, strategy: upsert, key: [id] }}"]
    return "\n".join(lines) + "\n"


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def percent_cpu(pid, seconds):
    used, begin = cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    return 100 * (cpu_seconds(pid) - used) / (time.monotonic() - begin)


def metrics(address):
    return urllib.request.urlopen(f"http://{address}/metrics", timeout=60).read().decode()


def lag(text):
    """[(upper bound, fires up to it)] of the histogram."""
    found = re.findall(r'^tidemark_schedule_lag_seconds_bucket\{le="([^"]+)"\} (\S+)', text, re.M)
    return [(float(bound.replace("+Inf", "inf")), float(count)) for bound, count in found]


def quantile(buckets, share):
    total = buckets[-1][1]
    return next(bound for bound, count in buckets if count >= share * total) if total else float("nan")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--minutes", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=30)
    options, _ = parser.parse_known_args()

    directory = pathlib.Path(tempfile.mkdtemp(prefix="tidemark-bench-", dir="/tmp"))
    if AS_POSTGRES:
        shutil.chown(directory, "postgres", "postgres")
    server, coordinator = Server(directory), None
    try:
        key = directory / "key"
        key.write_text("bench:" + base64.b64encode(os.urandom(32)).decode() + "\n")
        key.chmod(0o600)
        environment = dict(os.environ, TIDEMARK_STORE=server.dsn, TIDEMARK_KEY_FILE=str(key), TIDEMARK_ADMIN_LISTEN="127.0.0.1:0",
                           TIDEMARK_WORKER_LISTEN="127.0.0.1:0", TIDEMARK_METRICS_LISTEN="127.0.0.1:0")
        subprocess.run([BIN / "tidemark", "migrate"], env=environment, check=True, stdout=subprocess.DEVNULL)
        coordinator = subprocess.Popen([BIN / "tidemark-coordinator"], env=environment, stdout=subprocess.PIPE, text=True,
                                       stderr=subprocess.DEVNULL)
        addresses = {}
        for line in coordinator.stdout:
            words = line.split()
            if words == ["ready"]:
                break
            addresses[words[1]] = words[2]
        file = directory / "tidemark.yaml"

        def apply(cron):
            file.write_text(project(options.jobs, cron))
            begin = time.monotonic()
            subprocess.run([BIN / "tidemark", "apply", file, "--server", addresses["admin"]], check=True, stdout=subprocess.DEVNULL)
            return time.monotonic() - begin

        print(f"{options.jobs:,} jobs applied in {apply('0 0 1 1 *'):.1f} s")
        print(f"idle: {percent_cpu(coordinator.pid, options.seconds):.2f} % CPU over {options.seconds} s")
        print(f"applied with one-minute crons in {apply('* * * * *'):.1f} s")
        metrics_before = lag(metrics(addresses["metrics"]))
        before = dict(metrics_before)
        time.sleep(60 - time.time() % 60 + 60 * (options.minutes - 1) + 20)
        buckets = [(bound, count - before.get(bound, 0)) for bound, count in lag(metrics(addresses["metrics"]))]
        print(f"{buckets[-1][1]:,.0f} fires in {options.minutes} minutes: lag p50 <= {quantile(buckets, 0.5)} s, "
              f"p99 <= {quantile(buckets, 0.99)} s, max <= {quantile(buckets, 1)} s")
        print("runs by status:", server.run("SELECT string_agg(status || ' ' || n, ', ') FROM "
                                            "(SELECT status, count(*) n FROM etl_runs GROUP BY status) s"))
        print(f"between fires: {percent_cpu(coordinator.pid, 10):.2f} % CPU over 10 s")
    finally:
        if coordinator is not None:
            coordinator.terminate()
            coordinator.wait()
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
