drop table rowcall.subscription_sequence;
drop table rowcall.subscription;
