drop table rowcall.registry_edit;
