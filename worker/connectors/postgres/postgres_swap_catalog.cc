#include "worker/connectors/postgres/postgres_swap_catalog.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace tidemark::postgres {
namespace {

// Objects of the table itself (its constraints, triggers, defaults, statistics, indexes) depend on its columns too;
// they are rebuilt.
constexpr char kObstaclesSql[] = R"(
WITH t AS (SELECT * FROM pg_catalog.pg_class WHERE oid = $1::oid),
     types AS (SELECT reltype AS oid FROM t UNION SELECT y.typarray FROM t JOIN pg_catalog.pg_type y ON y.oid = t.reltype)
SELECT DISTINCT CASE WHEN r.oid IS NOT NULL THEN pg_catalog.format('%s reads it', pg_catalog.pg_describe_object('pg_class'::regclass, r.ev_class, 0))
                     WHEN f.contype = 'f' THEN pg_catalog.format('foreign key %s of %s points to it', f.conname, f.conrelid::regclass)
                     ELSE pg_catalog.format('%s depends on it', pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid)) END
  FROM pg_catalog.pg_depend d
  LEFT JOIN pg_catalog.pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid AND r.ev_class <> $1::oid
  LEFT JOIN pg_catalog.pg_constraint f ON d.classid = 'pg_constraint'::regclass AND f.oid = d.objid
 WHERE d.deptype = 'n'
   AND ((d.refclassid = 'pg_class'::regclass AND d.refobjid = $1::oid) OR
        (d.refclassid = 'pg_type'::regclass AND d.refobjid IN (SELECT oid FROM types WHERE oid <> 0)))
   AND NOT (f.oid IS NOT NULL AND f.conrelid = $1::oid AND (f.contype <> 'f' OR f.confrelid <> $1::oid))
   AND NOT (d.classid = 'pg_trigger'::regclass AND EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE oid = d.objid AND tgrelid = $1::oid))
   AND NOT (d.classid = 'pg_attrdef'::regclass AND EXISTS (SELECT FROM pg_catalog.pg_attrdef WHERE oid = d.objid AND adrelid = $1::oid))
   AND NOT (d.classid = 'pg_statistic_ext'::regclass AND EXISTS (SELECT FROM pg_catalog.pg_statistic_ext WHERE oid = d.objid AND stxrelid = $1::oid))
   AND NOT (d.classid = 'pg_class'::regclass AND EXISTS (SELECT FROM pg_catalog.pg_index WHERE indexrelid = d.objid AND indrelid = $1::oid))
   AND NOT (d.classid = 'pg_class'::regclass AND d.objid = $1::oid)
UNION ALL SELECT 'it has row-level security' FROM t
 WHERE relrowsecurity OR relforcerowsecurity OR EXISTS (SELECT FROM pg_catalog.pg_policy WHERE polrelid = t.oid)
UNION ALL SELECT pg_catalog.format('rule %s is on it', rulename) FROM pg_catalog.pg_rewrite WHERE ev_class = $1::oid
UNION ALL SELECT pg_catalog.format('publication %s has it', p.pubname)
  FROM pg_catalog.pg_publication_rel pr JOIN pg_catalog.pg_publication p ON p.oid = pr.prpubid WHERE pr.prrelid = $1::oid
UNION ALL SELECT pg_catalog.format('publication %s has all tables', pubname) FROM pg_catalog.pg_publication WHERE puballtables
UNION ALL SELECT 'tables inherit from it' WHERE EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE inhparent = $1::oid)
UNION ALL SELECT 'it inherits from another table' WHERE NOT $2::boolean AND EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE inhrelid = $1::oid)
UNION ALL SELECT 'it is a table of a composite type' FROM t WHERE reloftype <> 0
UNION ALL SELECT 'it is unlogged' FROM t WHERE relpersistence <> 'p'
UNION ALL SELECT 'it is no plain table' FROM t WHERE relkind <> 'r'
UNION ALL SELECT 'it belongs to an extension' WHERE EXISTS (
  SELECT FROM pg_catalog.pg_depend WHERE classid = 'pg_class'::regclass AND objid = $1::oid AND deptype = 'e')
UNION ALL SELECT 'it has a security label' WHERE EXISTS (
  SELECT FROM pg_catalog.pg_seclabel WHERE classoid = 'pg_class'::regclass AND objoid = $1::oid)
UNION ALL SELECT 'its owner is another role' FROM t WHERE NOT pg_catalog.pg_has_role(relowner, 'USAGE')
UNION ALL SELECT pg_catalog.format('there is no right to create tables in schema %s', relnamespace::regnamespace) FROM t
 WHERE NOT pg_catalog.has_schema_privilege(relnamespace, 'CREATE'))";

// PostgreSQL 15 and later publish whole schemas, too.
constexpr char kSchemaPublicationsSql[] = R"(
SELECT pg_catalog.format('publication %s has its schema', p.pubname)
  FROM pg_catalog.pg_publication_namespace pn JOIN pg_catalog.pg_publication p ON p.oid = pn.pnpubid
  JOIN pg_catalog.pg_class c ON c.relnamespace = pn.pnnspid WHERE c.oid = $1::oid)";

constexpr char kReferencingSql[] = R"(
SELECT pg_catalog.format('%s of %s', conname, conrelid::regclass) FROM pg_catalog.pg_constraint
 WHERE contype = 'f' AND confrelid = $1::oid AND conrelid <> $1::oid AND conparentid = 0 ORDER BY 1)";

// Of a column's options those that the manual knows (ALTER TABLE, attribute options): a server may keep marks of its
// own beside them. Debian's 15.20 stamps every column with `pg_attver`, at its creation and at each change of its type:
// no two tables have the same, and pg_dump leaves it out too.
constexpr char kPictureSql[] = R"(
WITH t AS (SELECT * FROM pg_catalog.pg_class WHERE oid = $1::oid)
SELECT pg_catalog.format('table: kind %s, persistence %s, owner %s, method %s, tablespace %s, options %s, row security %s %s, replica identity %s, comment %s',
         relkind, relpersistence, pg_catalog.pg_get_userbyid(relowner), (SELECT amname FROM pg_catalog.pg_am a WHERE a.oid = relam),
         (SELECT spcname FROM pg_catalog.pg_tablespace s WHERE s.oid = reltablespace), reloptions, relrowsecurity, relforcerowsecurity,
         relreplident, pg_catalog.quote_nullable(pg_catalog.obj_description(oid, 'pg_class'))) FROM t
UNION ALL SELECT pg_catalog.format('toast options: %s', c.reloptions) FROM t JOIN pg_catalog.pg_class c ON c.oid = t.reltoastrelid
 WHERE c.reloptions IS NOT NULL
UNION ALL SELECT pg_catalog.format('grant: %s to %s by %s, grant option %s', x.privilege_type, x.grantee::regrole, x.grantor::regrole, x.is_grantable)
  FROM t, pg_catalog.aclexplode(coalesce(relacl, pg_catalog.acldefault('r', relowner))) x
UNION ALL SELECT pg_catalog.format('column %s: %I %s, collation %s, not null %s, default %s, identity %s, generated %s, statistics %s, storage %s, '
         'compression %s, options %s, comment %s',
         pg_catalog.row_number() OVER (ORDER BY a.attnum), a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attcollation::regcollation,
         a.attnotnull, pg_catalog.pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated, a.attstattarget, a.attstorage, a.attcompression,
         ARRAY(SELECT o FROM pg_catalog.unnest(a.attoptions) o WHERE pg_catalog.split_part(o, '=', 1) IN ('n_distinct', 'n_distinct_inherited') ORDER BY o),
         pg_catalog.quote_nullable(pg_catalog.col_description(a.attrelid, a.attnum)))
  FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL SELECT pg_catalog.format('grant on column %I: %s to %s by %s, grant option %s', a.attname, x.privilege_type, x.grantee::regrole, x.grantor::regrole,
         x.is_grantable)
  FROM pg_catalog.pg_attribute a, pg_catalog.aclexplode(a.attacl) x WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL SELECT pg_catalog.format('constraint %I: %s, valid %s, comment %s', conname, pg_catalog.pg_get_constraintdef(oid), convalidated,
         pg_catalog.quote_nullable(pg_catalog.obj_description(oid, 'pg_constraint'))) FROM pg_catalog.pg_constraint WHERE conrelid = $1::oid
UNION ALL SELECT pg_catalog.format('index: %s, primary %s, clustered %s, replica identity %s, valid %s, tablespace %s, statistics %s, comment %s',
         pg_catalog.pg_get_indexdef(i.indexrelid), i.indisprimary, i.indisclustered, i.indisreplident, i.indisvalid, s.spcname,
         ARRAY(SELECT attstattarget FROM pg_catalog.pg_attribute WHERE attrelid = i.indexrelid ORDER BY attnum),
         pg_catalog.quote_nullable(pg_catalog.obj_description(i.indexrelid, 'pg_class')))
  FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid LEFT JOIN pg_catalog.pg_tablespace s ON s.oid = c.reltablespace
 WHERE i.indrelid = $1::oid
UNION ALL SELECT pg_catalog.format('trigger: %s, enabled %s, comment %s', pg_catalog.pg_get_triggerdef(oid), tgenabled,
         pg_catalog.quote_nullable(pg_catalog.obj_description(oid, 'pg_trigger'))) FROM pg_catalog.pg_trigger WHERE tgrelid = $1::oid AND NOT tgisinternal
UNION ALL SELECT pg_catalog.format('statistics: %s, owner %s, target %s, comment %s', pg_catalog.pg_get_statisticsobjdef(oid), stxowner::regrole,
         stxstattarget, pg_catalog.quote_nullable(pg_catalog.obj_description(oid, 'pg_statistic_ext'))) FROM pg_catalog.pg_statistic_ext WHERE stxrelid = $1::oid
UNION ALL SELECT pg_catalog.format('policy %I', polname) FROM pg_catalog.pg_policy WHERE polrelid = $1::oid
UNION ALL SELECT pg_catalog.format('rule: %s', pg_catalog.pg_get_ruledef(oid)) FROM pg_catalog.pg_rewrite WHERE ev_class = $1::oid
UNION ALL SELECT pg_catalog.format('inherits from %s', inhparent::regclass) FROM pg_catalog.pg_inherits WHERE inhrelid = $1::oid
UNION ALL SELECT pg_catalog.format('sequence %s of column %I (%s): %s start %s by %s from %s to %s cache %s cycle %s, owner %s, at %s, comment %s', c.oid::regclass,
         a.attname, d.deptype, s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle, c.relowner::regrole,
         pg_catalog.pg_sequence_last_value(c.oid), pg_catalog.quote_nullable(pg_catalog.obj_description(c.oid, 'pg_class')))
  FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid AND c.relkind = 'S'
  JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
 WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = $1::oid AND d.deptype IN ('a', 'i')
UNION ALL SELECT pg_catalog.format('grant on sequence %s: %s to %s by %s, grant option %s', c.oid::regclass, x.privilege_type, x.grantee::regrole,
         x.grantor::regrole, x.is_grantable)
  FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid AND c.relkind = 'S',
       pg_catalog.aclexplode(coalesce(c.relacl, pg_catalog.acldefault('S', c.relowner))) x
 WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = $1::oid AND d.deptype IN ('a', 'i')
ORDER BY 1)";

constexpr char kShellSql[] = R"(
SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_partitioned_table p
  JOIN pg_catalog.pg_inherits i ON i.inhparent = p.partrelid
  JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE p.partrelid = $1::oid AND p.partdefid = c.oid AND c.relkind = 'r'
   AND (SELECT count(*) FROM pg_catalog.pg_inherits WHERE inhparent = p.partrelid) = 1)";

absl::StatusOr<std::vector<std::string>> Lines(Connection& connection, const char* sql,
                                               const std::vector<Text>& params) {
  TM_ASSIGN_OR_RETURN(const std::vector<Row> rows, connection.Execute(sql, params));
  std::vector<std::string> lines;
  for (const Row& row : rows) {
    if (!row[0].has_value()) return absl::InternalError("the catalog holds a definition that could not be read");
    lines.push_back(*row[0]);
  }
  return lines;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> RenameObstacles(Connection& connection, uint32_t oid,
                                                         bool is_shell_partition) {
  TM_ASSIGN_OR_RETURN(std::vector<std::string> obstacles,
                      Lines(connection, kObstaclesSql, {absl::StrCat(oid), is_shell_partition ? "true" : "false"}));
  if (connection.server_version() >= 150000) {
    TM_ASSIGN_OR_RETURN(const std::vector<std::string> published,
                        Lines(connection, kSchemaPublicationsSql, {absl::StrCat(oid)}));
    obstacles.insert(obstacles.end(), published.begin(), published.end());
  }
  return obstacles;
}

absl::StatusOr<std::vector<std::string>> ReferencingKeys(Connection& connection, uint32_t oid) {
  return Lines(connection, kReferencingSql, {absl::StrCat(oid)});
}

absl::StatusOr<std::vector<std::string>> CatalogPicture(Connection& connection, uint32_t oid) {
  return Lines(connection, kPictureSql, {absl::StrCat(oid)});
}

absl::StatusOr<std::optional<Partition>> ShellPartition(Connection& connection, uint32_t oid) {
  TM_ASSIGN_OR_RETURN(const std::vector<Row> rows, connection.Execute(kShellSql, {absl::StrCat(oid)}));
  if (rows.empty()) return std::nullopt;
  Partition partition;
  if (!absl::SimpleAtoi(*rows[0][0], &partition.oid)) return absl::InternalError("an OID is no number");
  partition.name = {*rows[0][1], *rows[0][2]};
  return partition;
}

absl::StatusOr<uint32_t> RelationOid(Connection& connection, const QualifiedName& name) {
  TM_ASSIGN_OR_RETURN(const Row row,
                      connection.ExecuteRow("SELECT coalesce(pg_catalog.to_regclass($1)::oid, 0)", {name.Sql()}));
  uint32_t oid = 0;
  if (!absl::SimpleAtoi(*row[0], &oid)) return absl::InternalError("an OID is no number");
  return oid;
}

}  // namespace tidemark::postgres
