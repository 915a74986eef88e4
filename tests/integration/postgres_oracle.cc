#include "tests/integration/postgres_oracle.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/support/postgres_server.h"

namespace tidemark::test {

const char kLineitemColumns[] =
    "id, l_orderkey, l_partkey, l_suppkey, l_linenumber, l_quantity, l_extendedprice, l_discount, l_tax, l_returnflag, "
    "l_linestatus, l_shipdate, l_commitdate, l_receiptdate, l_shipinstruct, l_shipmode, l_comment, updated_at";

std::string Fingerprint(const std::string& dsn, const std::string& relation, const std::string& columns) {
  const auto rows = Query(dsn, absl::StrCat("SELECT count(*), coalesce(sum(('x' || substr(md5(ROW(", columns,
                                            ")::text), 1, 15))::bit(60)::bigint), 0) FROM ", relation));
  return absl::StrJoin(rows.at(0), "/");
}

std::string DuplicateIds(const std::string& dsn, const std::string& table) {
  return Scalar(dsn,
                absl::StrCat("SELECT count(*) FROM (SELECT id FROM ", table, " GROUP BY id HAVING count(*) > 1) d"));
}

std::string LedgerViolations(const std::string& dsn, const std::string& table) {
  const auto broken = Query(
      dsn, absl::StrCat("SELECT sequence, low_text, before FROM (SELECT sequence, kind, low_text, "
                        "lag(high_text) OVER (ORDER BY sequence) AS before FROM tidemark.ledger WHERE target_table = '",
                        table,
                        "') l "
                        "WHERE kind = 'window' AND before IS NOT NULL AND low_text IS DISTINCT FROM before"));
  std::string text;
  for (const auto& row : broken) absl::StrAppend(&text, absl::StrJoin(row, " "), "; ");
  return text;
}

void CreateLineitem(const std::string& dsn, int64_t rows) {
  Exec(dsn, absl::StrCat(R"(
    CREATE TABLE lineitem (
      id bigint NOT NULL, l_orderkey bigint NOT NULL, l_partkey bigint NOT NULL, l_suppkey bigint NOT NULL,
      l_linenumber bigint NOT NULL, l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL,
      l_discount numeric(15,2) NOT NULL, l_tax numeric(15,2) NOT NULL, l_returnflag character varying NOT NULL,
      l_linestatus character varying NOT NULL, l_shipdate date NOT NULL, l_commitdate date NOT NULL, l_receiptdate date NOT NULL,
      l_shipinstruct character varying NOT NULL, l_shipmode character varying NOT NULL, l_comment character varying NOT NULL,
      updated_at timestamptz NOT NULL);
    INSERT INTO lineitem
      SELECT i, i / 4 + 1, 1 + (h & 65535) * 3, 1 + (h >> 8 & 8191), i % 4 + 1, 1 + h % 50,
             ((h & 65535) + 900) * (1 + h % 50) / 100.0, (h >> 3) % 11 / 100.0, (h >> 5) % 9 / 100.0,
             (ARRAY['A', 'N', 'R'])[1 + (h >> 7) % 3], (ARRAY['O', 'F'])[1 + (h >> 9) % 2],
             date '1992-01-02' + ((h >> 2) % 2526)::int, date '1992-01-31' + ((h >> 4) % 2466)::int,
             date '1992-01-04' + ((h >> 6) % 2554)::int,
             (ARRAY['DELIVER IN PERSON', 'COLLECT COD', 'NONE', 'TAKE BACK RETURN'])[1 + (h >> 11) % 4],
             (ARRAY['REG AIR', 'AIR', 'RAIL', 'SHIP', 'TRUCK', 'MAIL', 'FOB'])[1 + (h >> 13) % 7],
             substr('carefully final deposits sleep furiously above the quickly ironic accounts' || md5(i::text),
                    1 + (h % 40)::int, (10 + (h >> 15) % 34)::int),
             timestamptz '2025-01-01 00:00:00+00' + i * interval '1 millisecond'
        FROM (SELECT i, (hashint8(i)::bigint & 2147483647) AS h FROM generate_series(1, )",
                         rows, R"() AS i) s;
    ALTER TABLE lineitem ADD PRIMARY KEY (id);
    CREATE INDEX lineitem_updated_at ON lineitem (updated_at);
    ANALYZE lineitem)"));
}

}  // namespace tidemark::test
