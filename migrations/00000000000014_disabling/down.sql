drop index rowcall.delivery_backlog;
alter table rowcall.delivery drop column cancelled_by;
drop table rowcall.subscription_failing;
