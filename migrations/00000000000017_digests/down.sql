drop index rowcall.digest_member_grouping;
alter table rowcall.digest_member drop column grouping;
