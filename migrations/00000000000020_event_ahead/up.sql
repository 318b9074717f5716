-- Events whose time lies well behind their publishing: a publisher may give any. By this a search that begins at a time
-- knows how much earlier than that it has to begin.
create index event_ahead on rowcall.event (id) where "time" - published_at > interval '1 hour';
