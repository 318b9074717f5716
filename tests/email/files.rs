//! Mails that are written to files.

use std::fs;

use rowcall::sink::{MailSettings, Mailer, Outcome, Sink};
use secrecy::SecretString;

use crate::{DIGEST, PATIENT, message, now, retried, send, sink_by};

#[tokio::test]
async fn a_mail_is_a_file_that_a_mail_reader_opens() {
    // GIVEN a directory that is not there yet
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("out/mails");
    let url = SecretString::from(format!("file://{}", directory.display()));
    let settings = MailSettings::parse(&url, None).unwrap();
    let sink = sink_by(Mailer::new(settings).unwrap());

    // WHEN a digest is sent twice and an event once
    for _ in 0..2 {
        let outcome = sink
            .send(&message("0199-d.2", DIGEST), now(), PATIENT)
            .await;
        assert_eq!(outcome, Outcome::Delivered { status: 250 });
    }
    assert_eq!(send(&sink).await, Outcome::Delivered { status: 250 });

    // THEN there are two files, whole
    let mut names: Vec<String> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "20261121T075812Z-morning-0199-e.eml",
            "20261121T080000Z-morning-0199-d.2.eml"
        ]
    );
    let mail = fs::read_to_string(directory.join(&names[1])).unwrap();
    assert!(
        mail.contains("\r\nSubject: morning: 5 events until"),
        "{mail}"
    );
    assert!(mail.ends_with("--\r\n"), "{mail}");

    // AND a directory that is gone is told, and tried again
    fs::remove_dir_all(&directory).unwrap();
    let (_, detail) = retried(send(&sink).await);
    assert!(
        detail.contains("check the directory of ROWCALL_SMTP_URL"),
        "{detail}"
    );
}

#[test]
fn a_directory_that_cannot_be_made_is_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("file");
    fs::write(&taken, "x").unwrap();
    let url = SecretString::from(format!("file://{}/below", taken.display()));
    let settings = MailSettings::parse(&url, None).unwrap();
    let error = Mailer::new(settings).unwrap_err().to_string();
    assert!(error.contains("can't be made"), "{error}");
}
