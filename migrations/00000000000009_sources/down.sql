drop table rowcall.source_table;
drop table rowcall.source_target;
alter table rowcall.registry drop column repository;
alter table rowcall.change drop column source_xid;
