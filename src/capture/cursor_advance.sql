update rowcall.source set snapshot = $3::pg_snapshot, batch_snapshot = $4::pg_snapshot, batch_seq = $5, position = $6,
    revision = revision + 1, changes_published = changes_published + $7, seq_seen = greatest(seq_seen, $8)
where name = $1 and revision = $2
