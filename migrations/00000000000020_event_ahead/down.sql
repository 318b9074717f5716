drop index rowcall.event_ahead;
