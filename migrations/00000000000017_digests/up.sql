-- Digests that are divided into groups.

-- The value by which the member is grouped, as JSON: a string or null. Null in SQL: the subscription groups nothing.
alter table rowcall.digest_member add column grouping text;

-- The members of a group in their order; only those of subscriptions that group have an entry.
create index digest_member_grouping on rowcall.digest_member (digest_id, grouping, position, event_id)
    where grouping is not null;
