-- The trigger function of one object type. Names in double braces are filled in by function.rs when the object type is
-- installed and whenever its leaf, its columns or its metadata change.
--
-- It runs inside the writer's statement: it must not fail, must not wait, and names no column of the table, so
-- that the writer's own DDL never breaks it. It is owned by rowcall_capture, which may insert into the leaves
-- and nothing else.
--
-- Most rows are small, and most sessions write them as all others do: those are captured by one statement. What a
-- transaction pays is mostly the number of statements and expressions, each of which is made ready anew. Of a row that
-- is null, as OLD is of an insert, there is no image.
create or replace function rowcall.{{function}}() returns trigger
language plpgsql
security definer
{{settings}}
as $rowcall$
begin
    if {{is_plain}} then
        -- Straight into the leaf: through the parent it costs more, and a missing leaf would fail the writer.
        insert into rowcall.change_{{rotation}}
            (seq, xid, rotation, target, relation, op, before, after, at, role, actor, traceparent)
        values
            (pg_catalog.nextval('rowcall.change_seq'::pg_catalog.regclass), pg_catalog.pg_current_xact_id(),
             {{rotation}}, {{target}}, tg_relid,
             case tg_op when 'INSERT' then 'c' when 'UPDATE' then 'u' when 'DELETE' then 'd' else 't' end,
             pg_catalog.row_to_json(old), pg_catalog.row_to_json(new),
             pg_catalog.clock_timestamp(), session_user,
             pg_catalog.left(pg_catalog.current_setting('rowcall.actor', true), {{setting_chars_max}}),
             pg_catalog.left(pg_catalog.current_setting('rowcall.traceparent', true), {{setting_chars_max}}));
    else
        perform rowcall.{{function}}_careful(tg_op, tg_relid, old, new);
    end if;
{{bell}}
    return null;
end
$rowcall$;
