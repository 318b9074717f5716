drop table rowcall.attempt;
drop table rowcall.delivery;
drop table rowcall.event;
