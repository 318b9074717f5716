-- The same for every other row: with all settings pinned, with the size looked at, and with a gap where there can be
-- no image. A function of its own, because pinning costs each call.
create or replace function rowcall.{{function}}_careful(
    operation pg_catalog.text, relation pg_catalog.oid, before_row pg_catalog.record, after_row pg_catalog.record
) returns void
language plpgsql
{{settings_all}}
as $rowcall$
declare
    before_image pg_catalog.json;
    after_image pg_catalog.json;
    image_bytes pg_catalog.int8;
    gap_reason pg_catalog.text;
    key_image pg_catalog.json;
    change_op pg_catalog."char" := case operation
        when 'INSERT' then 'c' when 'UPDATE' then 'u' when 'DELETE' then 'd' else 't' end;
begin
    -- Whatever is raised here is no reason for the writer's statement to fail: an image of 1 GB or more, which Postgres
    -- can't make, json that it can't read, a named column that was renamed or retyped, a cast that somebody defined. A
    -- cancelled statement is none of these "others". Nothing is written in this block, so it costs no transaction id.
    begin
{{images}}
        image_bytes := coalesce(pg_catalog.pg_column_size(before_image), 0)
            + coalesce(pg_catalog.pg_column_size(after_image), 0);
        if image_bytes > {{value_bytes_max}} then
            gap_reason := 'too_large';
        end if;
    exception when others then
        -- program_limit_exceeded, out_of_memory and internal_error: a text, or a value's part of it, of 1 GB or more.
        gap_reason := case when sqlstate in ('54000', '53200', 'XX000') then 'too_large' else 'not_imaged' end;
    end;
    if gap_reason is not null then
        -- The key, if it can be had, is taken from the row, of which there may be no image.
        begin
            if operation = 'DELETE' then
                key_image := {{key_before}};
            else
                key_image := {{key_after}};
            end if;
            if pg_catalog.pg_column_size(key_image) > {{key_bytes_max}} then
                key_image := null;
            end if;
        exception when others then
            key_image := null;
        end;
        before_image := null;
        after_image := pg_catalog.json_build_object('op', pg_catalog.lower(operation), 'reason', gap_reason,
            'size', image_bytes, 'key', key_image);
        change_op := 'g';
    end if;
    insert into rowcall.change_{{rotation}}
        (seq, xid, rotation, target, relation, op, before, after, at, role, actor, traceparent)
    values
        (pg_catalog.nextval('rowcall.change_seq'::pg_catalog.regclass), pg_catalog.pg_current_xact_id(),
         {{rotation}}, {{target}}, relation, change_op, before_image, after_image,
         pg_catalog.clock_timestamp(), session_user,
         pg_catalog.left(pg_catalog.current_setting('rowcall.actor', true), {{setting_chars_max}}),
         pg_catalog.left(pg_catalog.current_setting('rowcall.traceparent', true), {{setting_chars_max}}));
end
$rowcall$;

revoke all on function
    rowcall.{{function}}_careful(pg_catalog.text, pg_catalog.oid, pg_catalog.record, pg_catalog.record) from public
