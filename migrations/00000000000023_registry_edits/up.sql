-- Which subscription the edit was of that raised the registry to a revision. A revision that is not here was raised by
-- something else, such as an edit of the catalogue; then everything is read again.
create table rowcall.registry_edit (
    revision        bigint primary key check (revision > 0),
    subscription_id uuid not null
);
