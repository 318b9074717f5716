select s.snapshot::text, s.batch_snapshot::text, s.batch_seq, s.position, s.revision,
    s.seq_seen, s.seq_floor, s.system_identifier, s.database_oid::bigint, s.timeline,
    s.stopped_at, s.stop_kind, s.stop_reason,
    (select b.seq from rowcall.source_backlog b where b.source = s.name
     order by b.seq_to limit 1) as backlog_seq
from rowcall.source s where s.name = $1
