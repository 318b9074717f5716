//! Changes that many subscribers want are published in pieces.

use crate::{
    shop::{shop, write},
    support::receiver::Receiver,
};

#[tokio::test]
async fn what_would_make_too_many_deliveries_at_once_is_published_in_pieces() {
    // GIVEN a hundred subscriptions, whose digests stay open
    let receiver = Receiver::start().await;
    let subscription = |n| {
        format!(
            "[subscription.of-{n}]\nobject_types = [\"sales.order\"]\nmode = \"batch\"\n\
             schedule = {{ max_wait = \"10h\" }}\nSINK\n"
        )
    };
    let mut app = shop(&receiver, &(0..100).map(subscription).collect::<String>()).await;
    // WHEN one transaction changes a hundred rows
    write(
        &app,
        "insert into orders (id) select generate_series(1, 100)",
    );
    app.run_until_idle().await;
    // THEN no transaction publishes more than 2,000 of the 10,000, and none is lost or doubled
    let pieces = app.texts(
        "select count(*)::text from rowcall.event group by xmin::text::bigint \
         order by min(position)",
    );
    assert_eq!(pieces, ["20"; 5]);
    assert_eq!(
        app.count("select count(*) from rowcall.digest_member"),
        10_000
    );
    // AND what few want goes together again
    write(&app, "insert into orders (id) values (101), (102)");
    app.run_until_idle().await;
    let last =
        "select count(distinct xmin::text) from rowcall.event where object_key in ('101', '102')";
    assert_eq!(app.count(last), 1);
}
