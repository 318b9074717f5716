//! Whatever the interleaving of writers, two instances, lost ones and an operator: behind a dead
//! delivery nothing of its object is received before it was acknowledged or released.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use chrono::TimeDelta;
use rowcall::stage::Stage as _;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    house::{account, ask, deliver, mirrored_to, publish, replays, row, run_replays},
    support::{
        app::TestApp,
        receiver::{Answer, Receiver},
    },
};

const ROUNDS: u64 = 10;
const STEPS: usize = 70;
/// Objects of a round.
const KEYS: u64 = 3;
const BLOCKING: &str = "retry = { schedule = [\"0s\", \"0s\"] }\non_dead = \"block\"";

/// A small generator (SplitMix64): the seed alone gives what happens.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// What the receiver was sent, in order: the row, and whether it was acknowledged.
type Ledger = Arc<Mutex<Vec<(String, bool)>>>;

/// Has the receiver fail `failing` of ten requests.
fn answering(receiver: &Receiver, ledger: &Ledger, mut random: Random, failing: u64) {
    let ledger = Arc::clone(ledger);
    receiver.answer_with(move |request| {
        let is_taken = random.below(10) >= failing;
        ledger.lock().unwrap().push((row(request), is_taken));
        Answer::Status(if is_taken { 200 } else { 503 })
    });
}

/// Replays or releases one dead delivery that blocks.
async fn operate(app: &TestApp, random: &mut Random, released: &mut HashSet<String>) {
    let blocking = app.texts(
        "select d.id || ' ' || e.object_key || ':' \
             || (e.body::json->'data'->'after'->>'revision') \
         from rowcall.delivery d join rowcall.event e on e.id = d.event_id \
         where d.blocks order by d.position limit 1",
    );
    let Some((id, row)) = blocking.first().and_then(|text| text.split_once(' ')) else {
        return;
    };
    if random.below(3) == 0 {
        released.insert(row.to_owned());
        let path = format!("/v1/deliveries/{id}/release");
        // A replay of it may have succeeded at this moment.
        let (status, answer) = ask(app, "POST", &path, &Value::Null).await;
        assert!([200, 409].contains(&status), "{answer}");
    } else {
        let path = format!("/v1/deliveries/{id}/replay");
        let (status, answer) = ask(app, "POST", &path, &Value::Null).await;
        assert_eq!(status, 202, "{answer}");
    }
}

/// Behind each row's revision, everything before it was acknowledged or released, and received.
fn assert_held(ledger: &[(String, bool)], released: &HashSet<String>) {
    let mut seen: HashMap<String, Vec<u64>> = HashMap::new();
    let mut taken: HashSet<&str> = HashSet::new();
    for (place, (row, is_taken)) in ledger.iter().enumerate() {
        let (key, revision) = row.split_once(':').unwrap();
        let revision: u64 = revision.parse().unwrap();
        let before = seen.entry(key.to_owned()).or_default();
        if !before.contains(&revision) {
            for earlier in before.iter() {
                assert!(
                    *earlier < revision,
                    "{row} at {place} after {key}:{earlier}"
                );
                let earlier = format!("{key}:{earlier}");
                let is_over = taken.contains(&*earlier) || released.contains(&earlier);
                assert!(is_over, "{row} at {place} before {earlier} was over");
            }
            let next = before.last().map_or(1, |last| last + 1);
            assert_eq!(revision, next, "{row} at {place}: one was left out");
            before.push(revision);
        }
        if *is_taken {
            taken.insert(row);
        }
    }
}

async fn round(seed: u64) {
    let mut random = Random(seed);
    let receiver = Receiver::start().await;
    let ledger = Ledger::default();
    // GIVEN a receiver that fails often, so that many deliveries die and block
    answering(&receiver, &ledger, random.clone(), 5);
    let mut one = mirrored_to(&receiver, BLOCKING).await;
    let mut two = one.sibling().await;
    for key in 0..KEYS {
        one.sql(&format!("insert into orders values ({key})"));
    }
    let mut released = HashSet::new();
    // WHEN writers, both instances and an operator take steps in any order, and instances are lost
    for _ in 0..STEPS {
        match random.below(16) {
            0..=3 => {
                let key = random.below(KEYS);
                one.sql(&format!(
                    "update orders set revision = revision + 1 where id = {key}"
                ));
            }
            4..=6 => publish(&mut one).await,
            7..=8 => deliver(&mut one).await,
            9..=10 => deliver(&mut two).await,
            11 => replays(&mut one).await,
            12 => replays(&mut two).await,
            13 => operate(&one, &mut random, &mut released).await,
            14 => one
                .clock
                .advance(TimeDelta::milliseconds(random.below(3_000) as i64)),
            // Its requests may go on; nobody writes their results.
            _ => two = one.sibling().await,
        }
        tokio::task::yield_now().await;
    }
    // THEN, when the receiver is well and the operator is done, everything is over
    answering(&receiver, &ledger, random.clone(), 0);
    for _ in 0..200 {
        one.clock.advance(TimeDelta::seconds(11));
        let now = one.clock.now();
        two.instance.deliver.run_once(now).await.unwrap();
        two.instance.replay.run_once(now).await.unwrap();
        two.run_until_idle().await;
        run_replays(&mut one).await;
        operate(&one, &mut random, &mut released).await;
        if one.count("select count(*) from rowcall.delivery where settled_at is null or blocks")
            == 0
        {
            break;
        }
    }
    run_replays(&mut one).await;
    let left = one.texts(
        "select concat_ws(' ', state, due_at, lane, position, blocks) from rowcall.delivery \
         where settled_at is null or blocks",
    );
    assert!(left.is_empty(), "left behind: {left:#?}");
    // AND the order was kept through it
    let ledger = ledger.lock().unwrap().clone();
    assert_held(&ledger, &released);
    let changes = one.count("select count(*) from rowcall.change");
    let rows: HashSet<&String> = ledger.iter().map(|(row, _)| row).collect();
    assert_eq!(rows.len() as i64, changes, "changes committed and received");
    let account = account(&one);
    assert!(account.adds_up(), "{account:?}");
    assert_eq!(account.dead + account.delivered, changes);
    let miscounted = one.texts(
        "select r.id from rowcall.replay r cross join lateral ( \
             select count(*) filter (where state = 'sent') as sent, \
                 count(*) filter (where state = 'failed') as failed, count(*) as found \
             from rowcall.replay_item i where i.replay_id = r.id) as i \
         where (r.sent, r.failed, r.found) is distinct from (i.sent, i.failed, i.found) \
             or r.state <> 'done'",
    );
    assert!(
        miscounted.is_empty(),
        "replays that count otherwise than their items: {miscounted:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_interleaving_holds_what_is_behind_a_dead_one() {
    let base: u64 = std::env::var_os("ROWCALL_TEST_SEED").map_or_else(
        || Uuid::new_v4().as_u64_pair().0,
        |seed| seed.to_str().unwrap().parse().unwrap(),
    );
    for number in 0..ROUNDS {
        let seed = base.wrapping_add(number);
        println!("round {number} with seed {seed}");
        round(seed).await;
    }
}
