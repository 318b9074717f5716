alter table rowcall.subscription_rate drop column told_upto;
