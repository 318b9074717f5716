insert into rowcall.change (seq, xid, rotation, target, relation, op, after, at, role, actor, traceparent)
select pg_catalog.nextval('rowcall.change_seq'), pg_catalog.pg_current_xact_id(), $1, 0, 0, 'e', e.event::json,
    pg_catalog.clock_timestamp(), e.author, e.author, e.traceparent
from (
    select * from unnest($2, $3, $4) with ordinality as u (event, author, traceparent, place) order by u.place
) as e
