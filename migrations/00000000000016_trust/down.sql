drop table rowcall.verification;
drop table rowcall.subscription_secret;
alter table rowcall.subscription drop column public_key, drop column secret_key_id;
