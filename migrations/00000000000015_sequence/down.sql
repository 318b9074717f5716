drop table rowcall.heartbeat;
drop view rowcall.numbering;
drop index rowcall.delivery_unsettled, rowcall.delivery_sequence;
