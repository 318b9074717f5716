drop table rowcall.replay_attempt, rowcall.replay_item, rowcall.replay;
drop index rowcall.delivery_lane, rowcall.delivery_lane_previous, rowcall.delivery_dead, rowcall.delivery_dead_all;
alter table rowcall.delivery drop column blocks;
alter table rowcall.attempt drop column answer;
create index delivery_lane on rowcall.delivery (subscription_id, lane, position)
    where state in ('pending', 'held', 'sending');
create index delivery_lane_previous on rowcall.delivery (subscription_id, lane_previous, position)
    where state in ('pending', 'held', 'sending') and lane_previous is not null;
create index delivery_dead on rowcall.delivery (subscription_id, position) where state = 'dead';
