use super::*;
use crate::sink::email::{data::map, sample};

fn content(body: &str) -> Content {
    let subscription = map([("name", Value::from("morning-digest"))]);
    Content::read(body.as_bytes(), &subscription).unwrap()
}

fn built_in(body: &str) -> Rendered {
    Templates::default().render(&content(body)).unwrap()
}

fn own(subject: Option<&str>, text: Option<&str>, html: Option<&str>) -> Templates {
    Templates::compile(subject, text, html).unwrap()
}

fn event(data: &str) -> Content {
    content(&format!(
        r#"{{"id":"e","type":"t.o.updated","subject":"1","data":{data}}}"#
    ))
}

#[test]
fn the_built_in_templates_are_made_of_what_any_template_may_be() {
    for (name, source) in SOURCES {
        assert_eq!(check(source), Ok(()), "{name}");
        assert!(BUILT_IN.get_template(name).is_ok(), "{name}");
    }
}

#[test]
fn an_event_shows_what_changed() {
    let made = built_in(sample::EVENT);
    assert_eq!(made.subject, "sales.order.updated 42");
    assert!(
        made.text.contains("* status: open -> released"),
        "{}",
        made.text
    );
    assert!(made.text.contains("* note: (empty) -> rush"));
    assert!(made.text.contains("  amount: 1250.00"));
    let html = made.html.unwrap();
    assert!(html.contains(">released</span>"), "{html}");
    assert!(html.contains("Lovelace &amp; Co."));
    assert!(html.contains("2026-11-21 07:58:12 UTC"));
}

#[test]
fn digests_of_each_shape_list_their_objects() {
    let keys = built_in(sample::KEYS);
    assert_eq!(
        keys.subject,
        "morning-digest: 7 events until 2026-11-21 08:00:00 UTC"
    );
    for shown in [
        "sales.order.updated: 5",
        "  42  x 4  2026-11-21 07:58:12 UTC",
    ] {
        assert!(keys.text.contains(shown), "{}", keys.text);
    }
    assert!(keys.html.unwrap().contains(">sales.order.created "));

    let net = built_in(sample::NET_EFFECT);
    assert!(
        net.text.contains("sales.order 42: update (4 events)"),
        "{}",
        net.text
    );
    assert!(net.text.contains("amount: 1250.00 -> 1300.50"));
    assert!(net.html.unwrap().contains(">1300.50</td>"));

    let items = built_in(sample::ITEMS);
    assert!(
        items.subject.ends_with("(part 2 of 3)"),
        "{}",
        items.subject
    );
    assert!(
        items.text.contains("status: open -> released"),
        "{}",
        items.text
    );
    assert!(items.html.unwrap().contains("part 2 of 3"));
}

#[test]
fn styles_stand_in_the_elements() {
    for sample in [sample::EVENT, sample::KEYS] {
        let html = built_in(sample).html.unwrap();
        assert!(html.contains("<h1 style=\""), "{html}");
        assert!(html.contains("<td class=\"") && html.contains("padding: 6px"));
        // What remains of the sheet is what elements can't carry.
        let (_, rest) = html.split_once("<style>").unwrap();
        let (sheet, _) = rest.split_once("</style>").unwrap();
        assert!(sheet.trim_start().starts_with("@media"), "{sheet}");
    }
}

#[test]
fn a_digest_of_thousands_of_objects_stays_a_mail() {
    let keys: Vec<String> = (0..20_000)
        .map(|key| format!(r#"{{"key":"{key}","count":1,"last_at":"2026-11-20T10:40:31Z"}}"#))
        .collect();
    let made = built_in(&format!(
        r#"{{"type":"rowcall.digest","data":{{"count":20000,"events":[
           {{"type":"a.b.created","object_type":"a.b","count":20000,"keys":[{}]}}]}}}}"#,
        keys.join(",")
    ));
    assert!(made.text.contains("and 19800 more"), "{}", made.text);
    assert!(made.html.unwrap().len() < 256 * 1024);
}

/// Whatever a message holds, the built-in templates make a mail of it: names and values of
/// characters that grow most when they are escaped, more rows and columns than are shown.
#[test]
fn the_largest_message_is_a_mail_by_the_built_in_templates() {
    let ugly = "\"/".repeat(150).replace('"', "\\\"");
    let columns = |value: &str| {
        let columns: Vec<String> = (0..110)
            .map(|column| format!(r#""{column}{ugly}":"{value}{ugly}""#))
            .collect();
        columns.join(",")
    };
    let row = format!(
        r#""before":{{{}}},"after":{{{}}}"#,
        columns("a"),
        columns("b")
    );
    let object = format!(r#"{{"object_type":"{ugly}","key":"{ugly}","op":"update",{row}}}"#);
    let item = format!(r#"{{"type":"{ugly}","subject":"{ugly}","data":{object}}}"#);
    let key = format!(r#"{{"key":"{ugly}","count":2,"last_at":"{ugly}"}}"#);
    let list = |item: &str| format!("[{}{item}]", format!("{item},").repeat(209));
    let group = format!(r#"{{"type":"{ugly}","count":9,"keys":[{key}]}}"#);
    for data in [
        format!(r#""objects":{}"#, list(&object)),
        format!(r#""items":{}"#, list(&item)),
        format!(r#""events":{}"#, list(&group)),
    ] {
        let made = built_in(&format!(
            r#"{{"type":"rowcall.digest","data":{{"count":210,"window":{{"from":"{ugly}",
               "to":"{ugly}"}},{data}}}}}"#
        ));
        assert!(made.text.contains("10 more"), "{}", &made.text[..2_000]);
    }
    built_in(&item);
}

#[test]
fn values_are_escaped_in_html_and_have_no_control_characters_anywhere() {
    let content = event(
        r#"{"op":"update","before":{"a":"x"},
            "after":{"a":"<script>alert(1)</script>\u001b[2J\u0000\u202e\"'&"}}"#,
    );
    for templates in [
        Templates::default(),
        own(
            None,
            Some("{{ fields[0].after }}"),
            Some("<p title=\"{{ fields[0].after }}\">{{ fields[0].after }} {{ event }}</p>"),
        ),
    ] {
        let made = templates.render(&content).unwrap();
        let html = made.html.unwrap();
        assert!(!html.contains("<script>"), "{html}");
        for text in [html, made.text] {
            assert!(
                !text.contains(['\u{1b}', '\0', '\u{202e}']) && text.contains('\u{FFFD}'),
                "{text}"
            );
        }
    }
}

#[test]
fn a_subject_is_one_short_line_whatever_it_says() {
    let content = event(
        r#"{"after":{"a":"x\r\nBcc: eve@example.com\u2028\u0085y\tz  =?utf-8?B?DQo=?=",
            "b":"ä"}}"#,
    );
    let made = own(Some("{{ event.data.after.a }}"), None, None)
        .render(&content)
        .unwrap();
    assert_eq!(
        made.subject,
        "x Bcc: eve@example.com \u{FFFD}y z = ?utf-8?B?DQo= ?="
    );
    let long = own(
        Some("{% for x in event.type[:5] %}{{ event.type }}{{ 'word ' if true }}{% endfor %}"),
        None,
        None,
    );
    let long = long.render(&content).unwrap().subject;
    assert!(long.chars().count() <= SUBJECT_CHARS_MAX + 1, "{long}");
}

#[test]
fn what_is_missing_shows_as_nothing() {
    let made = own(
        Some("s"),
        Some("[{{ event.data.nope.deeper[3].x|upper }}{{ nothing }}]"),
        None,
    );
    assert_eq!(made.render(&event("{}")).unwrap().text, "[]");
    assert_eq!(made.render(&event("{}")).unwrap().html, None);
}

#[test]
fn what_takes_too_long_or_says_too_much_is_refused_with_its_line() {
    let list = format!("{{\"list\":[{}0]}}", "0,".repeat(199));
    let content = event(&list);
    let nested = |body: &str| {
        let open = "{% for x in event.data.list %}".repeat(4);
        format!("first\n{open}{body}{}", "{% endfor %}".repeat(4))
    };
    for (text, says) in [
        (nested(""), "more than 250000 steps"),
        (nested(&"y".repeat(9_000)), "more than 1048576 bytes"),
    ] {
        let fault = own(None, Some(&text), None).render(&content).unwrap_err();
        assert!(fault.reason.contains(says), "{fault}");
        assert_eq!(
            (fault.piece, fault.is_built_in),
            (Piece::Text, false),
            "{fault}"
        );
        assert!(matches!(fault.line, None | Some(2)), "{fault}");
    }
}

#[test]
fn a_failing_template_tells_its_place_and_no_value() {
    let text = "fine\n\n{{ event.data.after.a - 1 }}";
    let fault = own(None, Some(text), None)
        .render(&event(r#"{"after":{"a":"hunter2"}}"#))
        .unwrap_err()
        .to_string();
    assert!(
        fault.starts_with("the template /sink/text, line 3: "),
        "{fault}"
    );
    assert!(!fault.contains("hunter2"), "{fault}");
}

#[test]
fn a_faulty_template_is_found_when_it_is_read() {
    let faults = Templates::compile(Some("{{"), Some("{{ a ~ b }}"), Some("{% if %}")).unwrap_err();
    let pieces: Vec<Piece> = faults.iter().map(|(piece, _)| *piece).collect();
    assert_eq!(pieces, Piece::ALL);
}
