-- What was erased does not come back.
select 1;
