drop table rowcall.idempotency;
drop table rowcall.api_key;
