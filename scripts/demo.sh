#!/usr/bin/env bash
# A shop in SQLite is moved into a warehouse in DuckDB: everything, then what changed, then nothing. Checks what it shows.
#
#     scripts/demo.sh [DIR]      tidemark is found by PATH; DIR (default .demo/) is made anew
set -euo pipefail
directory=${1:-.demo}
rm -rf "$directory"

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] && [ -z "${NO_COLOR:-}" ] || say() { printf '\n%s\n' "$*"; }
shop() { sqlite3 -cmd '.timeout 5000' "$directory/shop.db" "$@"; }
run() { tidemark run "$directory/tidemark.yaml" | tee "$directory/run.out"; }

scripts=$(dirname "$0")

# What the warehouse lacks (<), or has and should not (>): by value, since the two spell an instant and a decimal differently.
shop_instant() { echo "strftime('%Y-%m-%d %H:%M:%f', $1)"; }
warehouse_instant() { echo "strftime($1 AT TIME ZONE 'UTC', '%Y-%m-%d %H:%M:%S.%g')"; }
columns() {  # SIDE TABLE AMOUNT
  if [ "$2" = customers ]; then
    echo "id, name, country, $("$1_instant" updated_at)"
  else
    echo "id, customer_id, status, $3, $("$1_instant" placed_at), $("$1_instant" updated_at)"
  fi
}
differences() {
  for table in customers orders; do
    diff <(shop "SELECT $(columns shop $table "printf('%.2f', amount)") FROM $table ORDER BY id") \
      <("$scripts/duckdb_query.py" "$directory/warehouse.duckdb" "SELECT $(columns warehouse $table amount) FROM $table ORDER BY id") || true
  done
}
check() {
  local found
  found=$(differences)
  [ -z "$found" ] || { echo "demo: the warehouse differs from the shop:" >&2; echo "$found" | head >&2; exit 1; }
  echo "warehouse.duckdb and shop.db hold the same rows"
}

say "1. a sample project: tidemark init"
tidemark init "$directory"

say "2. the first run moves everything"
run
check

say "3. the shop goes on: orders are shipped, placed, and a customer moves"
shop "UPDATE orders SET status = 'shipped' WHERE id % 40 = 0"
shop "INSERT INTO orders (customer_id, status, amount, placed_at)
      SELECT id, 'open', '19.90', strftime('%Y-%m-%dT%H:%M:%fZ', 'now') FROM customers WHERE id <= 25"
shop "UPDATE customers SET country = 'IS' WHERE id = 7"
echo "100 orders changed, 25 are new, 1 customer changed"

say "4. the second run moves those, and nothing else"
run
check
grep -q 'read 125 = loaded 125 + ' "$directory/run.out" || { echo "demo: the run should have moved 125 orders" >&2; exit 1; }

say "5. a third run has nothing to move"
run
[ "$(grep -c 'read 0 = loaded 0 + filtered 0 + quarantined 0' "$directory/run.out")" = 2 ] ||
  { echo "demo: the third run should have moved nothing" >&2; exit 1; }
check

say "Look around: $directory/tidemark.yaml; tidemark plan $directory/tidemark.yaml"
