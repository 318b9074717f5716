-- Only for a repository that has used none of it: the schema before can't tell digests and what is held.
do $$
begin
    if exists (select from rowcall.digest) or exists (select from rowcall.judgement) then
        raise exception 'the repository holds digests or judgements, which the schema before can not tell: '
            'restore a backup instead';
    end if;
end
$$;

drop view rowcall.untried;

drop table rowcall.event_accepted, rowcall.rate, rowcall.judgement, rowcall.digest_part,
    rowcall.digest_member, rowcall.digest;

drop index rowcall.delivery_part_once, rowcall.delivery_due, rowcall.delivery_lane,
    rowcall.delivery_lane_previous;

alter table rowcall.delivery
    drop constraint delivery_owed_check,
    drop constraint delivery_part_of_digest_check,
    drop constraint delivery_due_check,
    drop constraint delivery_held_check,
    drop constraint delivery_settled_check,
    drop constraint delivery_numbered_check,
    drop constraint delivery_state_check,
    drop column digest_id,
    drop column part,
    drop column urgency,
    drop column lost_leases,
    drop column hold_until,
    drop column is_unjudged,
    drop column is_rate_spent,
    alter column event_id set not null,
    alter column sequence set not null,
    add constraint delivery_state_check
        check (state in ('pending', 'sending', 'delivered', 'dead', 'cancelled')),
    add check (due_at is null or state = 'pending'),
    add check ((state in ('delivered', 'dead', 'cancelled')) = (settled_at is not null));

create index delivery_due on rowcall.delivery (due_at) where state = 'pending' and due_at is not null;
create index delivery_lane on rowcall.delivery (subscription_id, lane, position)
    where state in ('pending', 'sending');
create index delivery_lane_previous on rowcall.delivery (subscription_id, lane_previous, position)
    where state in ('pending', 'sending') and lane_previous is not null;

alter table rowcall.event add check (object_key is null or object_type is not null);

alter table rowcall.catalog_item
    drop constraint catalog_item_kind_check,
    add constraint catalog_item_kind_check check (kind in ('namespace', 'object_type'));

alter table rowcall.subscription
    drop constraint subscription_mode_check,
    add constraint subscription_mode_check check (mode in ('synchronous'));
