drop index rowcall.event_position;
drop table rowcall.start;
