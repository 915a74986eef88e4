#!/usr/bin/env python3
"""A full load from PostgreSQL to PostgreSQL against the databases' own wire.

Starts two servers of its own, makes a lineitem-like table, then runs in turn, A B A B ...:
  A  tidemark run, full strategy
  B  the floor: one COPY ... TO STDOUT (FORMAT binary) piped into COPY ... FROM STDIN, then the primary key
and prints every pair's wall seconds and the ratio A/B. Ratios hold on a noisy machine; single times do not.

    bench/postgres_full.py [--rows N] [--pairs N] [--sessions N]
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time

from support.postgres import AS_POSTGRES, Server

ROOT = pathlib.Path(__file__).resolve().parent.parent

LINEITEM = """
CREATE TABLE lineitem AS
  SELECT i AS id, i / 4 + 1 AS l_orderkey, h % 200000 AS l_partkey, h % 10000 AS l_suppkey, i % 4 + 1 AS l_linenumber,
         (1 + h % 50)::numeric(15,2) AS l_quantity, ((h % 90000) + 900.01)::numeric(15,2) AS l_extendedprice,
         (h % 11 / 100.0)::numeric(15,2) AS l_discount, (h % 9 / 100.0)::numeric(15,2) AS l_tax,
         (ARRAY['A','N','R'])[1 + h % 3] AS l_returnflag, (ARRAY['O','F'])[1 + h % 2] AS l_linestatus,
         date '1992-01-02' + (h % 2526)::int AS l_shipdate, date '1992-01-31' + (h % 2466)::int AS l_commitdate,
         date '1992-01-04' + (h % 2554)::int AS l_receiptdate, 'DELIVER IN PERSON'::varchar AS l_shipinstruct,
         (ARRAY['AIR','RAIL','SHIP','TRUCK'])[1 + h % 4] AS l_shipmode, substr(md5(i::text) || md5(h::text), 1, 10 + (h % 33)::int) AS l_comment,
         timestamptz '2025-01-01' + i * interval '1 ms' AS updated_at
    FROM (SELECT i, hashint8(i)::bigint & 2147483647 AS h FROM generate_series(1::bigint, {rows}) i) s;
ALTER TABLE lineitem ADD PRIMARY KEY (id);
VACUUM ANALYZE lineitem
"""


def floor(source, target):
    target.run("CREATE TABLE floor (LIKE lineitem_shape)")
    start = time.monotonic()
    out = subprocess.Popen(["psql", "-q", source.dsn, "-c", "COPY lineitem TO STDOUT (FORMAT binary)"], stdout=subprocess.PIPE)
    subprocess.run(["psql", "-q", target.dsn, "-c", "COPY floor FROM STDIN (FORMAT binary)"], stdin=out.stdout, check=True)
    if out.wait() != 0:
        raise SystemExit("the floor's COPY failed")
    target.run("ALTER TABLE floor ADD PRIMARY KEY (id)")
    seconds = time.monotonic() - start
    target.run("DROP TABLE floor")
    return seconds


def tidemark(project, rows):
    start = time.monotonic()
    done = subprocess.run([ROOT / "build/bin/tidemark", "run", project, "-o", "ndjson"], stdout=subprocess.PIPE, check=True)
    seconds = time.monotonic() - start
    loaded = json.loads(done.stdout)["rows_loaded"]
    if loaded != rows:
        raise SystemExit(f"loaded {loaded} of {rows} rows")
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--sessions", type=int, default=2)
    options, _ = parser.parse_known_args()

    directory = pathlib.Path(tempfile.mkdtemp(prefix="tidemark-bench-", dir="/tmp"))
    servers = []
    try:
        for name in ("source", "target"):
            (directory / name).mkdir()
            if AS_POSTGRES:
                shutil.chown(directory, "postgres", "postgres")
                shutil.chown(directory / name, "postgres", "postgres")
            servers.append(Server(directory / name))
        source, target = servers
        source.run(LINEITEM.format(rows=options.rows))
        target.run(LINEITEM.format(rows=0).replace(" lineitem", " lineitem_shape"))
        project = directory / "tidemark.yaml"
        project.write_text(f"""
connections:
  source: {{ dsn: "{source.dsn}", max_connections: {options.sessions} }}
  target: {{ dsn: "{target.dsn}" }}
jobs:
  lineitem:
    source: {{ connection: source, table: public.lineitem }}
    target: {{ connection: target, table: public.lineitem, strategy: full }}
""")
        tidemark(project, options.rows)  # The first load creates the table.
        ratios = []
        print(f"{options.rows:,} rows, {options.sessions} sessions; seconds")
        for pair in range(options.pairs):
            a, b = tidemark(project, options.rows), floor(source, target)
            ratios.append(a / b)
            print(f"pair {pair + 1}: tidemark {a:.2f}  one COPY pipe {b:.2f}  ratio {a / b:.2f}")
        print(f"median ratio {statistics.median(ratios):.2f} (min {min(ratios):.2f}, max {max(ratios):.2f})")
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
