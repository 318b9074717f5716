-- Who deletes a subscription wants its secrets gone: from now on they are erased with it, and here those of all that
-- were deleted before.
delete from rowcall.subscription_secret as x using rowcall.subscription as s
where s.id = x.subscription_id and s.state = 'deleted';

delete from rowcall.verification as v using rowcall.subscription as s
where s.id = v.subscription_id and s.state = 'deleted';

update rowcall.subscription set secret = null, secret_key_id = null where state = 'deleted';
