//! Messages that templates are tried on before a subscription is accepted: one of each shape.

/// A single event: an update.
pub(super) const EVENT: &str = r#"{"specversion":"1.0","id":"0197f1c8-0000-7000-8000-000000000001",
"source":"/rowcall/default","type":"sales.order.updated","subject":"42",
"time":"2026-11-21T07:58:12.345678Z","datacontenttype":"application/json",
"partitionkey":"sales.order/42","data":{"object_type":"sales.order","key":{"id":42},"op":"update",
"before":{"id":42,"customer":"Lovelace & Co.","status":"open","amount":1250.00,"note":null},
"after":{"id":42,"customer":"Lovelace & Co.","status":"released","amount":1250.00,"note":"rush"},
"changed":["status","note"],"actor":"desk-7","xid":"871"},"sequence":"00000000000000000017"}"#;

/// A digest by keys.
pub(super) const KEYS: &str = r#"{"specversion":"1.0","id":"0197f1c8-0000-7000-8000-000000000002.1",
"type":"rowcall.digest","time":"2026-11-21T08:00:00Z","data":{"subscription":"morning-digest",
"window":{"from":"2026-11-20T08:00:00Z","to":"2026-11-21T08:00:00Z"},"part":1,"parts":1,"count":7,
"events":[{"type":"sales.order.created","object_type":"sales.order","count":2,"keys":[
{"key":"41","count":1,"first_at":"2026-11-20T09:12:00Z","last_at":"2026-11-20T09:12:00Z"},
{"key":"42","count":1,"first_at":"2026-11-20T10:40:31Z","last_at":"2026-11-20T10:40:31Z"}]},
{"type":"sales.order.updated","object_type":"sales.order","count":5,"keys":[
{"key":"42","count":4,"first_at":"2026-11-20T10:41:00Z","last_at":"2026-11-21T07:58:12Z"},
{"key":"7","count":1,"first_at":"2026-11-20T15:02:44Z","last_at":"2026-11-20T15:02:44Z"}]}]}}"#;

/// A digest by net effect.
pub(super) const NET_EFFECT: &str = r#"{"specversion":"1.0","id":"d.1","type":"rowcall.digest",
"time":"2026-11-21T08:00:00Z","data":{"subscription":"morning-digest",
"window":{"from":"2026-11-20T08:00:00Z","to":"2026-11-21T08:00:00Z"},"part":1,"parts":1,"count":6,
"objects":[{"object_type":"sales.order","key":"42","op":"update","count":4,
"before":{"id":42,"status":"open","amount":1250.00},
"after":{"id":42,"status":"released","amount":1300.50}},
{"object_type":"sales.order","key":"43","op":"create","count":1,"before":null,
"after":{"id":43,"status":"open","amount":99.90}},
{"object_type":"sales.order","key":"7","op":"delete","count":1,
"before":{"id":7,"status":"cancelled","amount":10.00},"after":null}]}}"#;

/// A digest of whole events.
pub(super) const ITEMS: &str = r#"{"specversion":"1.0","id":"d.1","type":"rowcall.digest",
"time":"2026-11-21T08:00:00Z","data":{"subscription":"morning-digest",
"window":{"from":"2026-11-20T08:00:00Z","to":"2026-11-21T08:00:00Z"},"part":2,"parts":3,"count":2,
"items":[{"id":"a","type":"sales.order.created","subject":"42","time":"2026-11-20T10:40:31Z",
"data":{"object_type":"sales.order","op":"create","before":null,"after":{"id":42,"status":"open"}}},
{"id":"b","type":"sales.order.updated","subject":"42","time":"2026-11-21T07:58:12Z",
"data":{"object_type":"sales.order","op":"update","before":{"id":42,"status":"open"},
"after":{"id":42,"status":"released"}}}]}}"#;

/// The digests, one of each way of condensing.
pub(super) const DIGESTS: [&str; 3] = [KEYS, NET_EFFECT, ITEMS];
