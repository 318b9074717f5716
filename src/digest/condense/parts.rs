//! How the items of a digest are divided into parts. Pure.
//!
//! A part is full when another item would make its body too large, or when it has enough of them.
//! An item that is too large for any part has one to itself: it is never torn, and never dropped.

/// How large a part may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Bytes of all items with the commas between them.
    pub(super) bytes: usize,
    /// Items.
    pub(super) items: usize,
}

/// Items one after the other.
#[derive(Debug)]
pub(super) struct Items {
    room: Room,
    text: String,
    count: usize,
}

impl Items {
    pub(super) fn new(room: Room) -> Self {
        Self {
            room,
            text: String::new(),
            count: 0,
        }
    }

    /// Adds an item. If it did not fit, gives the part that was full before it.
    pub(super) fn push(&mut self, item: &str) -> Option<String> {
        let is_full =
            self.count >= self.room.items || self.text.len() + 1 + item.len() > self.room.bytes;
        let full = if is_full { self.take() } else { None };
        comma(&mut self.text);
        self.text.push_str(item);
        self.count += 1;
        full
    }

    /// What is left for the last part; `None` if it has no item.
    pub(super) fn take(&mut self) -> Option<String> {
        let is_empty = std::mem::take(&mut self.count) == 0;
        let text = std::mem::take(&mut self.text);
        (!is_empty).then_some(text)
    }
}

/// Keys under their event types. An event type that goes on in the next part is named again there,
/// with the count of the keys that follow, so that counts add up over all parts.
#[derive(Debug)]
pub(super) struct Keys {
    room: Room,
    /// Event types that are complete in this part.
    text: String,
    /// Keys in this part.
    count: usize,
    block: Option<Block>,
}

/// The keys of one event type and object type in one part.
#[derive(Debug)]
struct Block {
    /// `{"type":...,"object_type":...`
    head: String,
    events: i64,
    keys: String,
}

/// What closes a block besides its keys: `,"count":N,"keys":[]}` and a comma.
const BLOCK_BYTES: usize = 45;

impl Keys {
    pub(super) fn new(room: Room) -> Self {
        Self {
            room,
            text: String::new(),
            count: 0,
            block: None,
        }
    }

    /// Adds a key of the event type that `head` names, with its `events`. Without a key the events
    /// are counted only: they are of no object. If it did not fit, gives the part that was full.
    pub(super) fn push(&mut self, head: &str, key: Option<&str>, events: i64) -> Option<String> {
        if self.block.as_ref().is_some_and(|block| block.head != head) {
            self.close();
        }
        let open = self.block.as_ref().map_or(head.len(), Block::bytes);
        let bytes = self.text.len() + open + BLOCK_BYTES + 1 + key.map_or(0, str::len);
        let is_full = bytes > self.room.bytes || (key.is_some() && self.count >= self.room.items);
        let full = if is_full { self.take() } else { None };
        let block = self.block.get_or_insert_with(|| Block {
            head: head.to_owned(),
            events: 0,
            keys: String::new(),
        });
        block.events += events;
        if let Some(key) = key {
            comma(&mut block.keys);
            block.keys.push_str(key);
            self.count += 1;
        }
        full
    }

    /// What is left for the last part; `None` if there is nothing.
    pub(super) fn take(&mut self) -> Option<String> {
        self.close();
        self.count = 0;
        let text = std::mem::take(&mut self.text);
        (!text.is_empty()).then_some(text)
    }

    fn close(&mut self) {
        if let Some(Block { head, events, keys }) = self.block.take() {
            comma(&mut self.text);
            let block = format!(r#"{head},"count":{events},"keys":[{keys}]}}"#);
            self.text.push_str(&block);
        }
    }
}

impl Block {
    fn bytes(&self) -> usize {
        self.head.len() + self.keys.len()
    }
}

fn comma(text: &mut String) {
    if !text.is_empty() {
        text.push(',');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn parsed(part: &str) -> Vec<Value> {
        serde_json::from_str(&format!("[{part}]")).unwrap()
    }

    proptest! {
        #[test]
        fn items_keep_their_order_and_parts_their_bounds(
            sizes in prop::collection::vec(2_usize..60, 0..80),
            bytes in 10_usize..120,
            items in 1_usize..20,
        ) {
            let texts: Vec<String> = sizes.iter().map(|size| format!("\"{}\"", "x".repeat(*size))).collect();
            let room = Room { bytes, items };
            let mut open = Items::new(room);
            let mut parts: Vec<String> = texts.iter().filter_map(|text| open.push(text)).collect();
            parts.extend(open.take());
            prop_assert_eq!(parts.join(","), texts.join(","));
            for part in &parts {
                let count = parsed(part).len();
                prop_assert!(count <= items);
                prop_assert!(part.len() <= bytes || count == 1);
            }
            // No two neighbours would have fitted into one.
            for pair in parts.windows(2) {
                let next = &parsed(&pair[1])[0].to_string();
                prop_assert!(
                    parsed(&pair[0]).len() == items || pair[0].len() + 1 + next.len() > bytes
                );
            }
        }

        #[test]
        fn keys_are_all_there_once_and_counts_add_up(
            groups in prop::collection::vec((0_u8..4, prop::option::weighted(0.9, 0_u32..9999), 1_i64..50), 0..80),
            bytes in 60_usize..400,
            items in 1_usize..20,
        ) {
            let mut groups = groups;
            groups.sort();
            let mut open = Keys::new(Room { bytes, items });
            let mut parts = Vec::new();
            for (kind, key, count) in &groups {
                let head = format!(r#"{{"type":"t{kind}""#);
                let key = key.map(|key| format!(r#"{{"key":{key},"count":{count}}}"#));
                parts.extend(open.push(&head, key.as_deref(), *count));
            }
            parts.extend(open.take());
            let mut found = Vec::new();
            let mut total = 0;
            for part in &parts {
                let blocks = parsed(part);
                let keys: usize = blocks.iter().map(|b| b["keys"].as_array().unwrap().len()).sum();
                prop_assert!(keys <= items);
                prop_assert!(part.len() <= bytes || keys <= 1, "{} bytes: {}", bytes, part);
                for block in &blocks {
                    total += block["count"].as_i64().unwrap();
                    for key in block["keys"].as_array().unwrap() {
                        found.push((block["type"].to_string(), key["key"].as_u64().unwrap()));
                    }
                }
            }
            let expected: Vec<(String, u64)> = groups
                .iter()
                .filter_map(|(kind, key, _)| Some((format!("\"t{kind}\""), u64::from((*key)?))))
                .collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(total, groups.iter().map(|(_, _, count)| count).sum::<i64>());
        }
    }
}
