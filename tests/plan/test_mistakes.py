"""Every kind of mistake in a plan, with the exact words, file and line that it gets."""

from __future__ import annotations

import pytest
from inline_snapshot import snapshot

# Each case: what is wrong; the changes to the right plan, as (old, new); every line of the error.
MISTAKES = [
    (
        "an unknown key",
        [("      label: Product Metrics\n", "      labl: Product Metrics\n")],
        snapshot(
            [
                "halo.yaml, line 11: companies.context.metrics.label: missing. Say in a few words what the AI is shown, for example `label: Connected Integrations`.",
                "halo.yaml, line 12: companies.context.metrics.labl: unknown key. Did you mean label? Known keys: label, sql, type, source, rows, name, duplicates, value, order_by, limit, empty, nulls, booleans, timestamps, epochs.",
            ]
        ),
    ),
    (
        "an unknown key at the top",
        [("questions:", "question:")],
        snapshot(
            [
                "halo.yaml, line 37: question: unknown key. Did you mean questions? Known keys: version, name, source, nulls, define, companies, users, gone, questions."
            ]
        ),
    ),
    (
        "a missing version",
        [("version: 1\n", "")],
        snapshot(["halo.yaml, line 1: version: missing. Write `version: 1`."]),
    ),
    (
        "another version",
        [("version: 1", "version: 2")],
        snapshot(["halo.yaml, line 2: version: is 2, but must be 1."]),
    ),
    (
        "a version in quotes",
        [("version: 1", 'version: "1"')],
        snapshot(["halo.yaml, line 2: version: is '1', but must be 1."]),
    ),
    (
        "a missing key",
        [("  key: user_id\n", "")],
        snapshot(
            [
                "halo.yaml, line 27: users.key: missing. Name the column that identifies the record, for example `key: team_id`."
            ]
        ),
    ),
    (
        "a missing company",
        [("  company: team_id\n", "")],
        snapshot(
            [
                "halo.yaml, line 27: users.company: missing. Name the column that identifies the user's company, for example `company: team_id`."
            ]
        ),
    ),
    (
        "missing traits",
        [("  traits:\n    sql: SELECT id AS user_id, team_id, name, email, role, has_form FROM users\n", "")],
        snapshot(["halo.yaml, line 27: users.traits: missing. Give it a query: `traits: {sql: SELECT …}`."]),
    ),
    (
        "a blank key column",
        [("key: user_id", "key: ' '")],
        snapshot(["halo.yaml, line 28: users.key: blank. Name a column of the query."]),
    ),
    (
        "a number for a text",
        [("label: Product Metrics", "label: 12")],
        snapshot(
            ["halo.yaml, line 12: companies.context.metrics.label: is 12, but must be a string. Put quotes around it."]
        ),
    ),
    (
        "a YAML 1.1 boolean for a text",
        [("label: Product Metrics", "label: yes")],
        snapshot(
            [
                "halo.yaml, line 12: companies.context.metrics.label: is true, but must be a string. Put quotes around it."
            ]
        ),
    ),
    (
        "an empty label",
        [("label: Product Metrics", "label: ''")],
        snapshot(
            ["halo.yaml, line 12: companies.context.metrics.label: blank. Say in a few words what the AI is shown."]
        ),
    ),
    (
        "a label with a line break",
        [("label: Product Metrics", 'label: "Product\\nMetrics"')],
        snapshot(
            [
                "halo.yaml, line 12: companies.context.metrics.label: contains control characters or line breaks. Say in a few words what the AI is shown."
            ]
        ),
    ),
    (
        "a nothing for a label",
        [("label: Product Metrics", "label:")],
        snapshot(["halo.yaml, line 12: companies.context.metrics.label: is empty, but must be a string."]),
    ),
    (
        "a list for a text",
        [("label: Product Metrics", "label: [Product, Metrics]")],
        snapshot(["halo.yaml, line 12: companies.context.metrics.label: is a list, but must be a string."]),
    ),
    (
        "a text for a list",
        [("order_by: [opened_at desc, id]", "order_by: opened_at desc")],
        snapshot(["halo.yaml, line 25: companies.context.errors.order_by: is 'opened_at desc', but must be a list."]),
    ),
    (
        "a text for a number",
        [("limit: 20", "limit: many")],
        snapshot(["halo.yaml, line 26: companies.context.errors.limit: is 'many', but must be an integer."]),
    ),
    (
        "a boolean for a number",
        [("limit: 20", "limit: true")],
        snapshot(["halo.yaml, line 26: companies.context.errors.limit: is true, but must be an integer."]),
    ),
    (
        "a limit of nothing",
        [("limit: 20", "limit: 0")],
        snapshot(["halo.yaml, line 26: companies.context.errors.limit: is 0, but must be at least 1."]),
    ),
    (
        "a text for an entry",
        [
            (
                "    onboarding:\n      label: Onboarding & Activity\n      type: status\n      sql: SELECT user_id, team_id, step, done FROM onboarding\n",
                "    onboarding: SELECT 1\n",
            )
        ],
        snapshot(["halo.yaml, line 33: users.context.onboarding: is 'SELECT 1', but must be a mapping."]),
    ),
    (
        "an empty scope",
        [("companies:\n", "companies:\nold:\n")],
        snapshot(
            [
                "halo.yaml, line 4: companies: empty. Write its key and traits, or remove `companies:`.",
                "halo.yaml, line 5: old: unknown key. Known keys: version, name, source, nulls, define, companies, users, gone, questions.",
                "halo.yaml, line 40: questions[0].answered_by[0]: companies.context.integrations isn't in the plan. Known keys: users.traits, users.context.onboarding.",
            ]
        ),
    ),
    (
        "a wrong choice",
        [("source: forms_app", "source: forms_app\nnulls: ommit")],
        snapshot(["halo.yaml, line 4: nulls: is 'ommit', but must be send or omit."]),
    ),
    (
        "an unknown type",
        [("type: metric", "type: metrics")],
        snapshot(
            [
                "halo.yaml, line 13: companies.context.metrics.type: 'metrics' isn't a context type. Did you mean metric? Known types: list, integration, error, status, config, feature, metric, relationship, custom."
            ]
        ),
    ),
    (
        "an unknown type far from all",
        [("type: metric", "type: xyz")],
        snapshot(
            [
                "halo.yaml, line 13: companies.context.metrics.type: 'xyz' isn't a context type. Known types: list, integration, error, status, config, feature, metric, relationship, custom."
            ]
        ),
    ),
    (
        "an integration without a name",
        [("      name: service\n", "")],
        snapshot(
            [
                "halo.yaml, line 18: companies.context.integrations.type: integration needs `name:`, the column that names each row, so that rows become {hubspot: {…}}. For another shape, add `value:` or `rows:`."
            ]
        ),
    ),
    (
        "name and value",
        [("name: service", "name: service\n      value: status")],
        snapshot(
            [
                "halo.yaml, line 20: companies.context.integrations.value: can't be combined with name. `value:` makes a single value, `name:` a mapping: keep one."
            ]
        ),
    ),
    (
        "name and rows",
        [("name: service", "name: service\n      rows: many")],
        snapshot(
            [
                "halo.yaml, line 20: companies.context.integrations.rows: can't be combined with name. A mapping by name takes any number of rows: remove rows."
            ]
        ),
    ),
    (
        "value and many rows",
        [("name: service", "value: status\n      rows: many")],
        snapshot(
            [
                "halo.yaml, line 20: companies.context.integrations.rows: many can't be combined with value. `value:` is a column of a single row: keep one of them."
            ]
        ),
    ),
    (
        "value and nulls",
        [("name: service", "value: status\n      nulls: omit")],
        snapshot(
            [
                "halo.yaml, line 20: companies.context.integrations.nulls: omit can't be combined with value. A null is the value there, and is sent: remove nulls."
            ]
        ),
    ),
    (
        "an order for one row",
        [("empty: {forms: 0}", "order_by: [forms]")],
        snapshot(
            [
                "halo.yaml, line 15: companies.context.metrics.order_by: is for lists only, and this entry is an object. Add `rows: many`, or remove order_by."
            ]
        ),
    ),
    (
        "a limit for a map",
        [("name: service", "name: service\n      limit: 3")],
        snapshot(
            [
                "halo.yaml, line 20: companies.context.integrations.limit: is for lists only, and this entry is a mapping by name. Add `rows: many`, or remove limit."
            ]
        ),
    ),
    (
        "a blank order",
        [("order_by: [opened_at desc, id]", "order_by: ['', id]")],
        snapshot(
            [
                "halo.yaml, line 25: companies.context.errors.order_by[0]: blank. Write a column, followed by `desc` for descending order."
            ]
        ),
    ),
    (
        "an empty of another shape",
        [("empty: {forms: 0}", "empty: []")],
        snapshot(
            [
                "halo.yaml, line 15: companies.context.metrics.empty: is a list, but this entry is an object. Write a mapping such as {}, or `omit`."
            ]
        ),
    ),
    (
        "values of an empty that YAML takes for something else",
        [
            (
                "empty: {forms: 0}",
                (
                    "empty: {forms: 0, sync: off, country: NO, opens: 12:30:00, code: 010, hex: 0x1F, many: 1_000, "
                    "e: 1e3, fine: [true, False, -17, 1.5, .5, 1.5e+3, ~, y, 2025-01-01, 'off', \"010\", text]}"
                ),
            )
        ],
        snapshot(
            [
                'halo.yaml, line 15: companies.context.metrics.empty.code: YAML reads 010 as 8. Write 8, or put quotes around it: "010".',
                'halo.yaml, line 15: companies.context.metrics.empty.country: YAML reads NO as false. Write false, or put quotes around it: "NO".',
                "halo.yaml, line 15: companies.context.metrics.empty.e: YAML reads 1e3 as a text. Put quotes around it, or write the number out.",
                'halo.yaml, line 15: companies.context.metrics.empty.hex: YAML reads 0x1F as 31. Write 31, or put quotes around it: "0x1F".',
                'halo.yaml, line 15: companies.context.metrics.empty.many: YAML reads 1_000 as 1000. Write 1000, or put quotes around it: "1_000".',
                'halo.yaml, line 15: companies.context.metrics.empty.opens: YAML reads 12:30:00 as 45000. Write 45000, or put quotes around it: "12:30:00".',
                'halo.yaml, line 15: companies.context.metrics.empty.sync: YAML reads off as false. Write false, or put quotes around it: "off".',
            ]
        ),
    ),
    (
        "an empty mapping for a list",
        [("limit: 20", "empty: {}")],
        snapshot(
            [
                "halo.yaml, line 26: companies.context.errors.empty: is a mapping, but this entry is a list. Write a list such as [], or `omit`."
            ]
        ),
    ),
    (
        "an empty list for a value",
        [("name: service", "value: status\n      empty: [1]")],
        snapshot(
            [
                "halo.yaml, line 20: companies.context.integrations.empty: is a list, but this entry is a single value. Write a single value, or `omit`."
            ]
        ),
    ),
    (
        "an empty null for an object",
        [("empty: {forms: 0}", "empty: null")],
        snapshot(
            [
                "halo.yaml, line 15: companies.context.metrics.empty: is null, but this entry is an object. Write a mapping such as {}, or `omit`."
            ]
        ),
    ),
    (
        "a reserved user trait",
        [("id AS user_id, team_id,", "id AS user_id, team_id, created_at, last_seen,")],
        snapshot(
            [
                "halo.yaml, line 31: users.traits.sql: created_at is a name that Halo reserves. Rename it in the SQL, for example `created_at AS signed_up_at`.",
                "halo.yaml, line 31: users.traits.sql: last_seen is a name that Halo reserves. Rename it in the SQL, for example `last_seen AS last_active_at`.",
            ]
        ),
    ),
    (
        "a reserved company trait",
        [("t.created_at AS signed_up_at", "t.team_size")],
        snapshot(
            [
                "halo.yaml, line 8: companies.traits.sql: team_size is a name that Halo reserves. Rename it in the SQL, for example `team_size AS members`."
            ]
        ),
    ),
    (
        "a column given twice",
        [("count(*) AS forms", "count(*) AS forms, max(id) AS forms")],
        snapshot(
            [
                "halo.yaml, line 14: companies.context.metrics.sql: the query returns two columns named forms. Rename one with AS."
            ]
        ),
    ),
    (
        "a missing key column",
        [("SELECT user_id, team_id, step, done", "SELECT usr_id, team_id, step, done")],
        snapshot(
            [
                "halo.yaml, line 36: users.context.onboarding.sql: the query returns no column user_id, which identifies the record (users.key). Did you mean usr_id? Add it to the SELECT list."
            ]
        ),
    ),
    (
        "a missing company column",
        [("SELECT id AS user_id, team_id, name, email, role", "SELECT id AS user_id, name, email, role")],
        snapshot(
            [
                "halo.yaml, line 31: users.traits.sql: the query returns no column team_id, which identifies the company (users.company). Add it to the SELECT list."
            ]
        ),
    ),
    (
        "a name that isn't selected",
        [("name: service", "name: servce")],
        snapshot(
            [
                "halo.yaml, line 19: companies.context.integrations.name: the query returns no column servce. Did you mean service? It returns connected, error, service, status, team_id."
            ]
        ),
    ),
    (
        "a name that is the key",
        [("name: service", "name: team_id")],
        snapshot(
            [
                "halo.yaml, line 19: companies.context.integrations.name: team_id identifies the record and isn't part of the entry. Name another column."
            ]
        ),
    ),
    (
        "a value that isn't selected",
        [("name: service", "value: state")],
        snapshot(
            [
                "halo.yaml, line 19: companies.context.integrations.value: the query returns no column state. Did you mean status? It returns connected, error, service, status, team_id."
            ]
        ),
    ),
    (
        "an order that isn't selected",
        [("opened_at desc, id", "opend_at desc, id")],
        snapshot(
            [
                "halo.yaml, line 25: companies.context.errors.order_by[0]: the query returns no column opend_at. Did you mean opened_at? It returns id, opened_at, team_id, title."
            ]
        ),
    ),
    (
        "marked columns that aren't selected",
        [("limit: 20", "limit: 20\n      booleans: [is_open]\n      timestamps: [opened]")],
        snapshot(
            [
                "halo.yaml, line 27: companies.context.errors.booleans[0]: the query returns no column is_open. It returns id, opened_at, team_id, title.",
                "halo.yaml, line 28: companies.context.errors.timestamps[0]: the query returns no column opened. Did you mean opened_at? It returns id, opened_at, team_id, title.",
            ]
        ),
    ),
    (
        "a column marked twice",
        [("limit: 20", "limit: 20\n      booleans: [id]\n      timestamps: [id]")],
        snapshot(
            [
                "halo.yaml, line 28: companies.context.errors.timestamps: id is listed under booleans too. Keep it in one of them."
            ]
        ),
    ),
    (
        "a blank marked column",
        [("limit: 20", "limit: 20\n      booleans: ['']")],
        snapshot(["halo.yaml, line 27: companies.context.errors.booleans[0]: blank. Name a column of the query."]),
    ),
    (
        "a literal that the API doesn't know",
        [("'annual'", "'yearly'")],
        snapshot(
            [
                "halo.yaml, line 8: companies.traits.sql: contract_term is 'yearly', which Halo doesn't accept. Allowed values: monthly, quarterly, annual, bi_annual."
            ]
        ),
    ),
    (
        "a source that is blank",
        [("source: forms_app", "source: ''")],
        snapshot(["halo.yaml, line 3: source: blank. Name an Airflow connection."]),
    ),
    (
        "no source at all",
        [("source: forms_app\n", "")],
        snapshot(["halo.yaml, line 1: source: missing. Name the Airflow connection of the product database."]),
    ),
    (
        "an empty source",
        [("source: forms_app\n", "source:\n")],
        snapshot(["halo.yaml, line 3: source: missing. Name the Airflow connection of the product database."]),
    ),
    (
        "one entry without a source",
        [
            ("source: forms_app\n", ""),
            ("      label: Product Metrics\n", "      label: Product Metrics\n      source: other\n"),
        ],
        snapshot(
            [
                "halo.yaml, line 5: companies.traits.source: missing. Name the Airflow connection of its database, here or for all queries at the top of the plan.",
                "halo.yaml, line 16: companies.context.integrations.source: missing. Name the Airflow connection of its database, here or for all queries at the top of the plan.",
                "halo.yaml, line 21: companies.context.errors.source: missing. Name the Airflow connection of its database, here or for all queries at the top of the plan.",
                "halo.yaml, line 30: users.traits.source: missing. Name the Airflow connection of its database, here or for all queries at the top of the plan.",
                "halo.yaml, line 33: users.context.onboarding.source: missing. Name the Airflow connection of its database, here or for all queries at the top of the plan.",
            ]
        ),
    ),
    (
        "a key that is the company",
        [("key: user_id", "key: team_id")],
        snapshot(
            ["halo.yaml, line 29: users.company: the same column as key. Select the value twice, under two names."]
        ),
    ),
    (
        "an answer that isn't there",
        [("answered_by: [companies.context.integrations]", "answered_by: [companies.context.integration]")],
        snapshot(
            [
                "halo.yaml, line 39: questions[0].answered_by[0]: companies.context.integration isn't in the plan. Did you mean companies.context.integrations? Known keys: companies.traits, companies.context.metrics, companies.context.integrations, companies.context.errors, users.traits, users.context.onboarding."
            ]
        ),
    ),
    (
        "an answer with a wrong field",
        [("answered_by: [companies.context.integrations]", "answered_by: [users.traits.rol]")],
        snapshot(
            [
                "halo.yaml, line 39: questions[0].answered_by[0]: users.traits has no column rol. Did you mean role? It has email, has_form, name, role."
            ]
        ),
    ),
    (
        "no answers",
        [("answered_by: [companies.context.integrations]", "answered_by: []")],
        snapshot(
            [
                "halo.yaml, line 39: questions[0].answered_by: empty. List the keys that answer the question, or remove the question."
            ]
        ),
    ),
    (
        "a blank question",
        [("ask: Why isn't my HubSpot sync working?", "ask: ''")],
        snapshot(["halo.yaml, line 38: questions[0].ask: blank. Write the question as customers ask it."]),
    ),
    (
        "a missing answer",
        [("    answered_by: [companies.context.integrations]\n", "")],
        snapshot(
            [
                "halo.yaml, line 38: questions[0].answered_by: missing. List the keys that answer it, for example `[companies.context.integrations]`."
            ]
        ),
    ),
    (
        "a context key with a line break",
        [("    metrics:\n", '    "met\\nrics":\n')],
        snapshot(
            [
                "halo.yaml, line 11: companies.context.'met\\nrics': contains control characters or line breaks. A context key is a name such as product_metrics."
            ]
        ),
    ),
    (
        "a context key of blanks",
        [("    metrics:\n", '    " ":\n')],
        snapshot(
            ["halo.yaml, line 11: companies.context.' ': blank. A context key is a name such as product_metrics."]
        ),
    ),
    (
        "a missing SQL file",
        [("sql/integrations.sql", "sql/integration.sql")],
        snapshot(
            [
                "halo.yaml, line 20: companies.context.integrations.sql: sql/integration.sql: no such file. Check the path, and the directory that it starts from."
            ]
        ),
    ),
    (
        "a SQL file that is a folder",
        [("sql: sql/integrations.sql", "sql: folder.sql")],
        snapshot(
            [
                "halo.yaml, line 20: companies.context.integrations.sql: folder.sql: a directory, not a file. Give the path of a file in it."
            ]
        ),
    ),
    (
        "a SQL file by an absolute path",
        [("sql: sql/integrations.sql", "sql: /etc/integrations.sql")],
        snapshot(
            [
                "halo.yaml, line 20: companies.context.integrations.sql: /etc/integrations.sql is an absolute path. Give it relative to the plan, so that both can move together."
            ]
        ),
    ),
    (
        "a SQL file with control characters",
        [("sql: sql/integrations.sql", 'sql: "sql\\0.sql"')],
        snapshot(
            [
                "halo.yaml, line 20: companies.context.integrations.sql: contains control characters. Give the path of an SQL file, relative to the plan."
            ]
        ),
    ),
    (
        "blank SQL",
        [("sql: SELECT user_id, team_id, step, done FROM onboarding", "sql: ''")],
        snapshot(["halo.yaml, line 36: users.context.onboarding.sql: the query is empty. Write a SELECT."]),
    ),
    (
        "SQL that writes",
        [("sql: SELECT user_id, team_id, step, done FROM onboarding", "sql: DELETE FROM users")],
        snapshot(
            [
                "halo.yaml, line 36: users.context.onboarding.sql: the query begins with DELETE. A query must be a single SELECT (or WITH … SELECT)."
            ]
        ),
    ),
    (
        "a wrong line in a block of SQL",
        [("FROM teams t LEFT", "FROM {{ ds }} t LEFT")],
        snapshot(
            [
                'halo.yaml, line 9: companies.traits.sql: templates aren\'t supported in SQL. Only {{ batch("column") }} is filled in.'
            ]
        ),
    ),
    (
        "a batch that isn't a column",
        [('batch("problems.team_id")', 'batch("1=1) OR (1=1")')],
        snapshot(
            [
                'halo.yaml, line 24: companies.context.errors.sql: batch takes the name of one column, for example {{ batch("f.team_id") }}.'
            ]
        ),
    ),
    (
        "a key twice",
        [("  key: team_id\n", "  key: team_id\n  key: id\n")],
        snapshot(["halo.yaml, line 6: companies.key: duplicate key, first used on line 5. Keep one of them."]),
    ),
    (
        "a number as a key",
        [("    metrics:\n", "    2025:\n")],
        snapshot(
            [
                'halo.yaml, line 11: companies.context: YAML doesn\'t read the key 2025 as a string. Put it in quotes: "2025".'
            ]
        ),
    ),
    (
        "a YAML 1.1 boolean as a key",
        [("    metrics:\n", "    on:\n")],
        snapshot(
            [
                'halo.yaml, line 11: companies.context: YAML doesn\'t read the key on as a string. Put it in quotes: "on".'
            ]
        ),
    ),
    (
        "a date as a key",
        [("    metrics:\n", "    2025-01-01:\n")],
        snapshot(
            [
                'halo.yaml, line 11: companies.context: YAML doesn\'t read the key 2025-01-01 as a string. Put it in quotes: "2025-01-01".'
            ]
        ),
    ),
    (
        "a list as a key",
        [("    metrics:\n", "    [a, b]:\n")],
        snapshot(
            [
                "halo.yaml, line 11: companies.context: a key must be a string (`<<` and keys in brackets aren't supported). Write the keys out."
            ]
        ),
    ),
    (
        "a merge key",
        [("    metrics:\n", "    metrics:\n      <<: {type: metric}\n")],
        snapshot(
            [
                "halo.yaml, line 12: companies.context.metrics: a key must be a string (`<<` and keys in brackets aren't supported). Write the keys out."
            ]
        ),
    ),
    (
        "a Python tag",
        [("label: Product Metrics", "label: !!python/object/apply:os.system [ls]")],
        snapshot(
            [
                "halo.yaml, line 12: companies.context.metrics.label: the tag !!python/object/apply:os.system isn't supported. A plan consists of strings, numbers, true, false, null, lists and mappings."
            ]
        ),
    ),
    (
        "a tag that doesn't fit",
        [("limit: 20", "limit: !!int abc")],
        snapshot(
            ["halo.yaml, line 26: companies.context.errors.limit: not a valid value for its tag !!int. Remove the tag."]
        ),
    ),
    (
        "a value that is no number",
        [("empty: {forms: 0}", "empty: {forms: .nan}")],
        snapshot(
            [
                "halo.yaml, line 15: companies.context.metrics.empty.forms: NaN and infinity don't exist in JSON. Use null."
            ]
        ),
    ),
    (
        "a number beyond 64 bits",
        [("empty: {forms: 0}", "empty: {forms: 99999999999999999999}")],
        snapshot(
            [
                "halo.yaml, line 15: companies.context.metrics.empty.forms: the number doesn't fit into 64 bits. Put it in quotes to send it as a string."
            ]
        ),
    ),
    (
        "half a Unicode pair",
        [("label: Product Metrics", 'label: "\\ud800"')],
        snapshot(
            [
                "halo.yaml, line 12: companies.context.metrics.label: contains an unpaired surrogate, which is half of a character. Write the character itself."
            ]
        ),
    ),
    (
        "columns that can't pick a user's row",
        [
            (
                "  company: team_id\n  traits:",
                "  company: team_id\n  prefer: [is_hom desc, ' ', user_id]\n  traits:",
            ),
            ("role, has_form FROM", "role, is_home FROM"),
        ],
        snapshot(
            [
                "halo.yaml, line 30: users.prefer[0]: the query returns no column is_hom. Did you mean is_home? It returns email, is_home, name, role, team_id, user_id.",
                "halo.yaml, line 30: users.prefer[1]: blank. Write a column, followed by `desc` for descending order.",
                "halo.yaml, line 30: users.prefer[2]: user_id is the same in all rows of a user. Name a column that tells them apart.",
            ]
        ),
    ),
    (
        "a preference among companies",
        [("companies:\n  key: team_id\n", "companies:\n  key: team_id\n  prefer: [plan]\n")],
        snapshot(["halo.yaml, line 6: companies.prefer: unknown key. Known keys: key, traits, context."]),
    ),
]


@pytest.mark.parametrize(("changes", "expected"), [case[1:] for case in MISTAKES], ids=[case[0] for case in MISTAKES])
def test_a_mistake_is_told_with_file_line_and_way_out(plans, changes, expected):
    (plans.folder / "folder.sql").mkdir()
    text = plans.right
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    assert plans.problems(text) == expected


def test_the_right_plan_has_no_problem(plans):
    assert plans.problems(plans.right) == []
