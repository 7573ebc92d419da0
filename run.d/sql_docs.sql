-- What docs/SQL.md tells of schema fleet: from the catalogue, as markdown, one line a row.
WITH object AS (
    SELECT 1 AS part, c.relname::text AS name, c.oid, obj_description(c.oid, 'pg_class') AS comment
    FROM pg_class c WHERE c.relnamespace = 'fleet'::regnamespace AND c.relkind IN ('v', 'm')
    UNION ALL
    SELECT 2, c.relname::text, c.oid, obj_description(c.oid, 'pg_class')
    FROM pg_class c WHERE c.relnamespace = 'fleet'::regnamespace AND c.relkind IN ('r', 'p')
    UNION ALL
    SELECT 3, p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', p.oid,
           obj_description(p.oid, 'pg_proc')
    FROM pg_proc p WHERE p.pronamespace = 'fleet'::regnamespace
), line AS (
    SELECT part, ''::text AS name, 0 AS place,
           E'\n## ' || (ARRAY['Views', 'Tables', 'Functions'])[part] AS text
    FROM object GROUP BY part
    UNION ALL
    SELECT part, name, 1, E'\n### ' || CASE WHEN part = 3 THEN '`' || name || '`' ELSE name END
                          || E'\n\n' || coalesce(comment, '') FROM object
    UNION ALL
    SELECT part, name, 2, E'\nGives ' || '`' || pg_get_function_result(oid) || '`.' FROM object WHERE part = 3
    UNION ALL
    SELECT part, name, 2, E'\n| column | type | meaning |\n|---|---|---|' FROM object WHERE part < 3
    UNION ALL
    SELECT part, name, 2 + a.attnum, '| `' || a.attname || '` | ' || format_type(a.atttypid, a.atttypmod)
                                     || ' | ' || replace(coalesce(col_description(oid, a.attnum), ''), '|', '\|') || ' |'
    FROM object JOIN pg_attribute a ON part < 3 AND a.attrelid = oid AND a.attnum > 0 AND NOT a.attisdropped
)
SELECT text FROM line ORDER BY part, name COLLATE "C", place;
