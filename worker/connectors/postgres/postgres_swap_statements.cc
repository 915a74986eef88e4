// The statements by which a staging table becomes the table it replaces, written by the server from the old table's
// catalog entries.
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/connectors/postgres/postgres_swap_catalog.h"

namespace tidemark::postgres {
namespace {

// $1 the old table, $2 the staging table's quoted name.
constexpr char kShapeSql[] = R"(
SELECT pg_catalog.format('ALTER TABLE %s SET (%s)', $2::text, pg_catalog.string_agg(pg_catalog.format('%s%I = %L', o.prefix,
         pg_catalog.split_part(o.option, '=', 1), pg_catalog.substr(o.option, pg_catalog.strpos(o.option, '=') + 1)), ', '))
  FROM (SELECT '' AS prefix, pg_catalog.unnest(reloptions) AS option FROM pg_catalog.pg_class WHERE oid = $1::oid
        UNION ALL SELECT 'toast.', pg_catalog.unnest(x.reloptions) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_class x ON x.oid = c.reltoastrelid
         WHERE c.oid = $1::oid) o
HAVING count(*) > 0
UNION ALL SELECT pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS %s', $2::text, attname, attstattarget)
  FROM pg_catalog.pg_attribute WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped AND attstattarget >= 0
UNION ALL SELECT pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET (%s)', $2::text, a.attname, (SELECT pg_catalog.string_agg(pg_catalog.format('%I = %L',
         pg_catalog.split_part(o, '=', 1), pg_catalog.substr(o, pg_catalog.strpos(o, '=') + 1)), ', ') FROM pg_catalog.unnest(a.attoptions) o
          WHERE pg_catalog.split_part(o, '=', 1) IN ('n_distinct', 'n_distinct_inherited')))
  FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped 
   AND EXISTS (SELECT FROM pg_catalog.unnest(a.attoptions) o WHERE pg_catalog.split_part(o, '=', 1) IN ('n_distinct', 'n_distinct_inherited')))";

// The text of an index up to its USING is known, so that no name or expression in it can be mistaken for the table's.
// Constraints first: they bring their indexes. Foreign keys last: they are checked by a join.
constexpr char kBuildSql[] = R"(
SELECT statement FROM (
  SELECT CASE contype WHEN 'f' THEN 4 WHEN 'c' THEN 3 WHEN 'p' THEN 0 ELSE 1 END AS step, conname AS name,
         pg_catalog.format('ALTER TABLE %s ADD CONSTRAINT %I %s', $2::text, conname, pg_catalog.pg_get_constraintdef(oid)) AS statement
    FROM pg_catalog.pg_constraint k
   WHERE conrelid = $1::oid AND contype IN ('p', 'u', 'x', 'c', 'f') AND NOT EXISTS (
     SELECT FROM pg_catalog.pg_constraint s WHERE s.conrelid = pg_catalog.to_regclass($2::text) AND s.conname = k.conname)
  UNION ALL
  SELECT 2, c.relname, CASE WHEN pg_catalog.starts_with(pg_catalog.pg_get_indexdef(c.oid), p.prefix)
           THEN pg_catalog.format('CREATE %sINDEX %I ON %s USING %s', p.uniqueness, c.relname, $2::text,
                                  pg_catalog.substr(pg_catalog.pg_get_indexdef(c.oid), pg_catalog.length(p.prefix) + 1)) END
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_class t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
    CROSS JOIN LATERAL (SELECT CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END AS uniqueness) u
    CROSS JOIN LATERAL (SELECT u.uniqueness, pg_catalog.format('CREATE %sINDEX %I ON %I.%I USING ', u.uniqueness, c.relname, n.nspname, t.relname) AS prefix) p
   WHERE i.indrelid = $1::oid AND i.indisvalid AND NOT EXISTS (
     SELECT FROM pg_catalog.pg_constraint WHERE conindid = c.oid AND contype IN ('p', 'u', 'x') AND conrelid = $1::oid)
) s ORDER BY step, name)";

constexpr char kReleaseSql[] = R"(
SELECT pg_catalog.format('ALTER SEQUENCE %s OWNED BY NONE', d.objid::regclass)
  FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind = 'S'
 WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1::oid AND d.deptype = 'a')";

// $1 the old table, $2 the staging table.
constexpr char kCarrySql[] = R"(
WITH t AS (SELECT c.*, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, n.nspname
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1::oid),
     a AS (SELECT * FROM pg_catalog.pg_attribute WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped),
     q AS (SELECT c.*, d.deptype, d.refobjsubid, s.*, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name
             FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind = 'S'
             JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1::oid AND d.deptype IN ('a', 'i'))
SELECT statement FROM (
  SELECT 10 AS step, pg_catalog.format('ALTER TABLE %s OWNER TO %s', name, relowner::regrole) AS statement FROM t
   WHERE relowner <> (SELECT relowner FROM pg_catalog.pg_class WHERE oid = $2::oid)
  UNION ALL
  SELECT 20, pg_catalog.format('REVOKE ALL ON TABLE %s FROM %s', t.name, CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END)
    FROM t, (SELECT DISTINCT x.grantee FROM pg_catalog.pg_class s, pg_catalog.aclexplode(s.relacl) x WHERE s.oid = $2::oid AND x.grantee <> s.relowner
             UNION SELECT relowner FROM t WHERE relacl IS NOT NULL) g
  UNION ALL
  SELECT 21, pg_catalog.format('GRANT %s ON TABLE %s TO %s%s', x.privilege_type, t.name, CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END,
         CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) FROM t, pg_catalog.aclexplode(t.relacl) x
  UNION ALL
  SELECT 22, pg_catalog.format('GRANT %s (%I) ON TABLE %s TO %s%s', x.privilege_type, a.attname, t.name,
         CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END, CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM t, a, pg_catalog.aclexplode(a.attacl) x
  UNION ALL
  SELECT 30, pg_catalog.format('COMMENT ON TABLE %s IS %s', name, pg_catalog.quote_nullable(pg_catalog.obj_description(oid, 'pg_class'))) FROM t
  UNION ALL
  SELECT 31, pg_catalog.format('COMMENT ON COLUMN %s.%I IS %s', t.name, a.attname, pg_catalog.quote_nullable(pg_catalog.col_description(a.attrelid, a.attnum)))
    FROM t, a WHERE pg_catalog.col_description(a.attrelid, a.attnum) IS NOT NULL
  UNION ALL
  SELECT 32, pg_catalog.format('COMMENT ON CONSTRAINT %I ON %s IS %L', k.conname, t.name, pg_catalog.obj_description(k.oid, 'pg_constraint'))
    FROM t JOIN pg_catalog.pg_constraint k ON k.conrelid = t.oid WHERE pg_catalog.obj_description(k.oid, 'pg_constraint') IS NOT NULL
  UNION ALL
  SELECT 33, pg_catalog.format('COMMENT ON INDEX %I.%I IS %L', t.nspname, c.relname, pg_catalog.obj_description(c.oid, 'pg_class'))
    FROM t JOIN pg_catalog.pg_index i ON i.indrelid = t.oid JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
   WHERE pg_catalog.obj_description(c.oid, 'pg_class') IS NOT NULL
  UNION ALL
  SELECT 34, pg_catalog.format('ALTER INDEX %I.%I ALTER COLUMN %s SET STATISTICS %s', t.nspname, c.relname, x.attnum, x.attstattarget)
    FROM t JOIN pg_catalog.pg_index i ON i.indrelid = t.oid JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_attribute x ON x.attrelid = c.oid WHERE x.attstattarget >= 0
  UNION ALL
  SELECT 40, pg_catalog.pg_get_triggerdef(g.oid) FROM pg_catalog.pg_trigger g WHERE g.tgrelid = $1::oid AND NOT g.tgisinternal AND g.tgparentid = 0
  UNION ALL
  SELECT 41, pg_catalog.format('ALTER TABLE %s %s TRIGGER %I', t.name, CASE g.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END,
         g.tgname) FROM t JOIN pg_catalog.pg_trigger g ON g.tgrelid = t.oid WHERE NOT g.tgisinternal AND g.tgparentid = 0 AND g.tgenabled <> 'O'
  UNION ALL
  SELECT 42, pg_catalog.format('COMMENT ON TRIGGER %I ON %s IS %L', g.tgname, t.name, pg_catalog.obj_description(g.oid, 'pg_trigger'))
    FROM t JOIN pg_catalog.pg_trigger g ON g.tgrelid = t.oid WHERE pg_catalog.obj_description(g.oid, 'pg_trigger') IS NOT NULL AND g.tgparentid = 0
  UNION ALL
  SELECT 50, pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY %s', name, CASE relreplident WHEN 'n' THEN 'NOTHING' WHEN 'f' THEN 'FULL' ELSE
         (SELECT pg_catalog.format('USING INDEX %I', c.relname) FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
           WHERE i.indrelid = t.oid AND i.indisreplident) END) FROM t WHERE relreplident <> 'd'
  UNION ALL
  SELECT 51, pg_catalog.format('ALTER TABLE %s CLUSTER ON %I', t.name, c.relname)
    FROM t JOIN pg_catalog.pg_index i ON i.indrelid = t.oid JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid WHERE i.indisclustered
  UNION ALL
  SELECT 60, pg_catalog.pg_get_statisticsobjdef(oid) FROM pg_catalog.pg_statistic_ext WHERE stxrelid = $1::oid
  UNION ALL
  SELECT 61, pg_catalog.format('ALTER STATISTICS %s.%I OWNER TO %s', stxnamespace::regnamespace, stxname, stxowner::regrole)
    FROM pg_catalog.pg_statistic_ext WHERE stxrelid = $1::oid
  UNION ALL
  SELECT 62, pg_catalog.format('ALTER STATISTICS %s.%I SET STATISTICS %s', stxnamespace::regnamespace, stxname, stxstattarget)
    FROM pg_catalog.pg_statistic_ext WHERE stxrelid = $1::oid AND stxstattarget >= 0
  UNION ALL
  SELECT 63, pg_catalog.format('COMMENT ON STATISTICS %s.%I IS %L', stxnamespace::regnamespace, stxname, pg_catalog.obj_description(oid, 'pg_statistic_ext'))
    FROM pg_catalog.pg_statistic_ext WHERE stxrelid = $1::oid AND pg_catalog.obj_description(oid, 'pg_statistic_ext') IS NOT NULL
  UNION ALL
  SELECT 70, pg_catalog.format('ALTER SEQUENCE %s OWNED BY %s.%I', q.name, t.name, a.attname) FROM t, q JOIN a ON a.attnum = q.refobjsubid WHERE q.deptype = 'a'
  UNION ALL
  SELECT 71, pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I ADD GENERATED %s AS IDENTITY (SEQUENCE NAME %s START WITH %s INCREMENT BY %s MINVALUE %s MAXVALUE %s CACHE %s %s)',
         t.name, a.attname, CASE a.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END, q.name, q.seqstart, q.seqincrement, q.seqmin, q.seqmax, q.seqcache,
         CASE WHEN q.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END) FROM t, q JOIN a ON a.attnum = q.refobjsubid WHERE q.deptype = 'i'
  UNION ALL
  SELECT 72, pg_catalog.format('SELECT pg_catalog.setval(%L, %s)', q.name, pg_catalog.pg_sequence_last_value(q.seqrelid))
    FROM q WHERE q.deptype = 'i' AND pg_catalog.pg_sequence_last_value(q.seqrelid) IS NOT NULL
  UNION ALL
  SELECT 73, pg_catalog.format('GRANT %s ON SEQUENCE %s TO %s%s', x.privilege_type, q.name, CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END,
         CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) FROM q, pg_catalog.aclexplode(q.relacl) x WHERE q.deptype = 'i'
) s ORDER BY step)";

absl::StatusOr<std::vector<std::string>> Statements(Connection& connection, const char* sql,
                                                    const std::vector<Text>& params) {
  TM_ASSIGN_OR_RETURN(const std::vector<Row> rows, connection.Execute(sql, params));
  std::vector<std::string> statements;
  for (const Row& row : rows) {
    if (!row[0].has_value()) return absl::UnimplementedError("a definition of the table could not be repeated");
    statements.push_back(*row[0]);
  }
  return statements;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ShapeStatements(Connection& connection, uint32_t oid,
                                                         const QualifiedName& staging) {
  return Statements(connection, kShapeSql, {absl::StrCat(oid), staging.Sql()});
}

absl::StatusOr<std::vector<std::string>> BuildStatements(Connection& connection, uint32_t oid,
                                                         const QualifiedName& staging) {
  return Statements(connection, kBuildSql, {absl::StrCat(oid), staging.Sql()});
}

absl::StatusOr<std::vector<std::string>> ReleaseStatements(Connection& connection, uint32_t oid) {
  return Statements(connection, kReleaseSql, {absl::StrCat(oid)});
}

absl::StatusOr<std::vector<std::string>> CarryStatements(Connection& connection, uint32_t oid, uint32_t staging_oid) {
  return Statements(connection, kCarrySql, {absl::StrCat(oid), absl::StrCat(staging_oid)});
}

}  // namespace tidemark::postgres
