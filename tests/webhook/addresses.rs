//! Which addresses a webhook may reach: as a URL is written, as a name is resolved, and as the
//! answer changes between two lookups. The union of what Svix, Smokescreen and Convoy refuse, and
//! more.

use std::net::IpAddr;
use std::time::Duration;

use rowcall::sink::{Outcome, Sink, WebhookClient, WebhookSink, check_url};
use url::Url;

use crate::name_server::NameServer;
use crate::support::receiver::{Answer, Receiver};
use crate::{PATIENT, guard, message, now, secret};

/// Hosts as somebody might write them in a URL. Each is either no URL at all or refused at once.
const WRITTEN: &str = "
    127.0.0.1 127.0.0.1. 127.1 127.0.1 127.255.255.254 0x7f.1 0x7f000001 0X7F.0.0.1 0177.0.0.1
    0177.1 017700000001 2130706433 0x7f.0x0.0x0.0x1 00000177.0.0.1 127.0x1 0 0.0 0.0.0.0 0x0
    000.000.000.000 1 0.0.0.1 10.0.0.1 10.1 0xa.1 012.0.0.1 167772161 172.16.0.1 172.31.255.255
    0xac.0x10.0.1 2886729729 192.168.0.1 192.168.1 0xc0a80001 3232235521 100.64.0.1
    100.100.100.200 169.254.169.254 169.254.43518 0xa9fea9fe 2852039166 0251.0376.0251.0376
    169.254.170.2 168.63.129.16 0xa83f8110 2822734096 192.0.0.1 192.0.0.170 192.0.0.192 192.0.2.1
    192.88.99.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.1.2.3 240.0.0.1
    255.255.255.255 4294967295 0xffffffff 037777777777 %31%32%37.0.0.1 127%2e0%2e0%2e1
    %30x7f.1 ①②⑦.⓪.⓪.① 127。0。0。1 １２７.０.０.１ 𝟏𝟐𝟕.𝟎.𝟎.𝟏 127．0．0．1 169。254。169。254
    1²7.0.0.1 [::] [::1] [0:0:0:0:0:0:0:1] [0000::0001] [::127.0.0.1] [::7f00:1] [::10.0.0.1]
    [::8.8.8.8] [::ffff:127.0.0.1] [::ffff:7f00:1] [::FFFF:127.0.0.1] [0:0:0:0:0:ffff:a00:1]
    [::ffff:169.254.169.254] [::ffff:a9fe:a9fe] [::ffff:168.63.129.16] [::ffff:0:127.0.0.1]
    [64:ff9b::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b::a9fe:a9fe] [64:ff9b::a83f:8110]
    [64:ff9b:1::1] [64:ff9b:1::8.8.8.8] [100::1] [2001::1] [2001:0:4136:e378:8000:63bf:3fff:fdd2]
    [2001:2::1] [2001:10::1] [2001:20::1] [2001:db8::1] [2002:7f00:1::] [2002:a9fe:a9fe::1]
    [2002:808:808::1] [3fff::1] [5f00::1] [fc00::1] [fd00::1] [fd00:ec2::254] [fe80::1]
    [fe80::a9fe:a9fe] [febf::1] [fec0::1] [feff::1] [ff02::1] [ff05::2] [4000::1] [fe80::1%25eth0]
    [fe80::1%eth0] [::1%25lo] [::1 [127.0.0.1] 127.0.0.1:99999 127.0.0.1%00.example.com
    127.0.0.1%0d%0a.example.com user@127.0.0.1 user:word@10.0.0.1 8.8.8.8@127.0.0.1
    127.0.0.1:80@8.8.8.8 127.0.0.1\\@8.8.8.8 a@b@127.0.0.1 . .. 256.256.256.256 127.0.0.1.1
    0x100000000 4294967296
";

/// Addresses as a name server might answer them. Each is refused when it is dialled.
const RESOLVED: &str = "
    0.0.0.0 0.0.0.1 0.255.255.255 10.0.0.0 10.0.0.1 10.255.255.255 100.64.0.0 100.64.0.1
    100.100.100.200 100.127.255.255 127.0.0.0 127.0.0.1 127.0.0.53 127.255.255.255 168.63.129.16
    169.254.0.1 169.254.169.253 169.254.169.254 169.254.170.2 169.254.255.255 172.16.0.0 172.16.0.1
    172.31.255.255 192.0.0.0 192.0.0.1 192.0.0.170 192.0.0.192 192.0.0.255 192.0.2.1 192.88.99.1
    192.168.0.0 192.168.0.1 192.168.255.255 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1
    224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.254 255.255.255.255 :: ::1 ::2 ::7f00:1
    ::127.0.0.1 ::8.8.8.8 ::ffff:0.0.0.0 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:100.64.0.1
    ::ffff:169.254.169.254 ::ffff:168.63.129.16 ::ffff:192.168.0.1 ::ffff:255.255.255.255
    ::ffff:0:127.0.0.1 ::ffff:0:8.8.8.8 64:ff9b::127.0.0.1 64:ff9b::10.0.0.1
    64:ff9b::169.254.169.254 64:ff9b::168.63.129.16 64:ff9b::1:0:0:1 64:ff9b:1::1
    64:ff9b:1::8.8.8.8 100::1 100:0:0:1::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:2::1
    2001:10::1 2001:20::1 2001:1ff:ffff::1 2001:db8::1 2002:7f00:1::1 2002:a00:1::1
    2002:a9fe:a9fe::1 2002:808:808::1 3fff::1 3fff:fff:ffff::1 4000::1 5f00::1 8000::1 fc00::1
    fd00:ec2::254 fd20:ce::254 fdff:ffff::1 fe00::1 fe80::1 fe80::a9fe:a9fe febf:ffff::1 fec0::1
    ff02::1 ff0e::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
";

#[test]
fn no_spelling_of_an_inner_address_can_be_registered() {
    let hosts: Vec<&str> = WRITTEN.split_whitespace().collect();
    assert!(hosts.len() >= 80, "{}", hosts.len());
    for host in hosts {
        for url in [format!("http://{host}/x"), format!("https://{host}/x")] {
            let verdict = Url::parse(&url).map(|url| check_url(&url, &guard(&[])));
            assert!(!matches!(verdict, Ok(Ok(()))), "{url} was accepted");
        }
    }
}

#[test]
fn what_stands_beside_the_host_hides_nothing() {
    for url in [
        "http://127.0.0.1:8080/",
        "http://127.0.0.1/?x=http://8.8.8.8",
        "http://127.0.0.1#8.8.8.8",
        "http:127.0.0.1/",
        "http:///127.0.0.1/",
        "http:\\\\127.0.0.1/",
        "HTTP://127.0.0.1",
        "http://\t127.0.0.1/",
        "http://127.0.0.1\\.example.com/",
        "  http://127.0.0.1/  ",
        "http://12\t7.0.0.1/",
        "http://127.0.0.1\n/",
        "gopher://8.8.8.8/",
        "file:///etc/passwd",
        "ftp://8.8.8.8/",
        "unix:///run/x",
        "dict://8.8.8.8/",
        "http://",
        "http:///",
    ] {
        let verdict = Url::parse(url).map(|url| check_url(&url, &guard(&[])));
        assert!(!matches!(verdict, Ok(Ok(()))), "{url:?} was accepted");
    }
}

fn sink_at(allow: &[&str], names: &NameServer, port: u16) -> WebhookSink {
    let client = WebhookClient::resolving_at(guard(allow), names.address).unwrap();
    let url = Url::parse(&format!("http://receiver.example.com:{port}/hook")).unwrap();
    WebhookSink::new(client, &url, secret()).unwrap()
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

async fn send(sink: &WebhookSink) -> Outcome {
    sink.send(&message("1"), now(), PATIENT).await
}

fn is_refused(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Final { status: None, detail } if detail.contains("the address"))
}

#[tokio::test]
async fn no_answer_of_a_name_server_opens_an_inner_address() {
    let receiver = Receiver::start().await;
    let names = NameServer::start([]).await;
    let sink = sink_at(&[], &names, receiver.port());
    let resolved: Vec<&str> = RESOLVED.split_whitespace().collect();
    assert!(resolved.len() >= 80, "{}", resolved.len());
    for text in resolved {
        names.answer(addresses(&[text]));
        let outcome = send(&sink).await;
        assert!(is_refused(&outcome), "{text}: {outcome:?}");
    }
    // The names by which clouds' metadata services go are names like others.
    for name in [
        "metadata.google.internal",
        "metadata",
        "instance-data",
        "localhost.example",
    ] {
        names.answer(addresses(&["169.254.169.254"]));
        let client = WebhookClient::resolving_at(guard(&[]), names.address).unwrap();
        let url = Url::parse(&format!("http://{name}.:80/")).unwrap();
        let outcome = send(&WebhookSink::new(client, &url, secret()).unwrap()).await;
        assert!(is_refused(&outcome), "{name}: {outcome:?}");
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn an_answer_that_changes_is_judged_at_each_dial() {
    // GIVEN a receiver at the one address that may be reached, and the name server of somebody who
    // would like to reach another: the first answer is right, the next is not, and so on
    let receiver = Receiver::start().await;
    let (right, wrong) = (addresses(&["127.0.0.1"]), addresses(&["127.0.0.2"]));
    let answers = (0..20).map(|turn| {
        if turn % 2 == 0 {
            right.clone()
        } else {
            wrong.clone()
        }
    });
    let names = NameServer::start(answers).await;
    let sink = sink_at(&["127.0.0.1/32"], &names, receiver.port());
    receiver.answer_with(|_| Answer::StatusThenClose(200));

    // WHEN it is sent to again and again, each time over a new connection
    let mut refused = 0;
    for turn in 0..20 {
        let outcome = send(&sink).await;
        // THEN what is refused is exactly what the answer of this dial is
        assert_eq!(
            is_refused(&outcome),
            turn % 2 == 1,
            "turn {turn}: {outcome:?}"
        );
        refused += usize::from(is_refused(&outcome));
    }
    assert_eq!((receiver.received().len(), refused), (10, 10));
    assert!(names.asked() >= 20, "an answer was kept: {}", names.asked());
}

#[tokio::test]
async fn of_mixed_answers_only_the_admitted_are_dialled() {
    let receiver = Receiver::start().await;
    let mixed = addresses(&[
        "127.0.0.2",
        "10.0.0.1",
        "::1",
        "127.0.0.1",
        "::ffff:127.0.0.2",
    ]);
    let names = NameServer::start([mixed]).await;
    let sink = sink_at(&["127.0.0.1/32"], &names, receiver.port());
    assert_eq!(send(&sink).await, Outcome::Delivered { status: 200 });

    // The admitted one does not accept: the others are not tried instead.
    let elsewhere = NameServer::start([addresses(&["127.0.0.1", "127.0.0.3"])]).await;
    let sink = sink_at(&["127.0.0.3/32"], &elsewhere, receiver.port());
    let outcome = sink
        .send(&message("2"), now(), Duration::from_secs(5))
        .await;
    assert!(
        matches!(outcome, Outcome::Retry { status: None, .. }),
        "{outcome:?}"
    );
    assert_eq!(receiver.received().len(), 1);
}
