drop table rowcall.registry;
drop table rowcall.catalog_item;
drop table rowcall.catalog_version;
