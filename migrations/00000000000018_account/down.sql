alter table rowcall.subscription_sequence drop column matched;
drop table rowcall.leaf_count, rowcall.account;
