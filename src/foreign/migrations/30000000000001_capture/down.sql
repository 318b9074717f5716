-- Never run by Rowcall: docs/CAPTURE.md says how capture is taken out of a database.
drop schema rowcall cascade;
