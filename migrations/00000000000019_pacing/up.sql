alter table rowcall.subscription_rate
    -- The latest time at which one of the deliveries that wait for the rate is to look again; null: none was told one.
    add column told_upto timestamptz;
