-- Whether a part of the net-effect digest $1 tells of the object of type $2 that had the key $3: under that key, or
-- under one that changes of the key in this digest led to. An entry's key is the captured text of an event's.
with recursive owned as (
    select $3 as key
    union
    select m.object_key from rowcall.digest_member as m
    join owned on m.previous_key = owned.key
    where m.digest_id = $1 and m.object_type = $2
),
named as (
    select distinct (e.body::json #> '{data,key}')::text as key
    from rowcall.digest_member as m
    join owned on m.object_key = owned.key
    join rowcall.event as e on e.id = m.event_id
    where m.digest_id = $1 and m.object_type = $2
)
select exists (
    select from rowcall.digest_part as p
    cross join lateral json_array_elements(p.body::json #> '{data,objects}') as o (entry)
    join named on named.key = (o.entry -> 'key')::text
    where p.digest_id = $1 and o.entry ->> 'object_type' = $2
) as is_told
