use super::*;

/// An outbox in which so many places are taken.
fn taken(places: usize) -> Outbox {
    let limits = Limits {
        deliveries_in_memory_max: 400,
        ..Limits::for_testing()
    };
    let (outbox, _) = Outbox::new(Clock::System, &limits, Nudge::default());
    let mut room = outbox.reserve_for_births();
    room.fill(places);
    drop(room);
    assert_eq!(outbox.in_memory(), places);
    outbox
}

#[tokio::test]
async fn a_large_batch_waits_for_places_that_get_free() {
    // GIVEN room for 50
    let outbox = taken(300);
    let wait = async {
        outbox.wait_for_births(90).await;
        outbox.in_memory()
    };
    // WHEN 90 are wanted, and places get free, which are at first too few
    let free = async {
        outbox.free_places(50);
        tokio::task::yield_now().await;
        outbox.free_places(60);
    };
    // THEN the wait ends when there are enough: half of what is free
    let (used, ()) = tokio::join!(biased; wait, free);
    assert_eq!(used, 190);
}

#[tokio::test]
async fn it_waits_neither_where_nothing_gets_free_nor_for_more_than_there_may_be() {
    let outbox = taken(400);
    let waited = tokio::time::timeout(FREED_WAIT_MAX / 2, outbox.wait_for_births(1)).await;
    assert!(waited.is_ok(), "it waits for receivers that hang");
    // A quarter of all is what may be reserved while half of all is being sent.
    let outbox = taken(200);
    tokio::select! {
        biased;
        () = outbox.wait_for_births(1_000_000) => {}
        () = std::future::ready(()) => panic!("it waits for places that there can't be"),
    }
}
