-- A fingerprint of the table's columns as they were when upkeep last looked; '' before the first look. What conditions
-- mean depends on them, and nobody tells Rowcall of an ALTER TABLE: another fingerprint raises the registry's revision.
alter table rowcall.capture_target add column shape text not null default '';
