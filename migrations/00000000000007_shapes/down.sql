alter table rowcall.capture_target drop column shape;
