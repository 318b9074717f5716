-- The trigger function of an object type of which no row is captured by a plain statement: only what an event type can
-- match is written down, or every row needs care. Most rows end in the verdict, if there is one, so it comes first, and
-- nothing is pinned here: each setting would cost every row as much as the verdict does. Therefore everything in this
-- body is named with its schema, operators included.
create or replace function rowcall.{{function}}() returns trigger
language plpgsql
security definer
as $rowcall$
begin
{{verdict}}    perform rowcall.{{function}}_careful(tg_op, tg_relid, old, new);
{{bell}}
    return null;
end
$rowcall$;
