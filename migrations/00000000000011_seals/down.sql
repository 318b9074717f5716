alter table rowcall.capture_target drop column function_seal;
drop view rowcall.capture_function;
