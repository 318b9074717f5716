//! `rowcall source`: how the sources fare, and what operators do to them.

use std::{
    fmt::Write as _,
    io::{BufRead as _, IsTerminal as _, Write as _},
};

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use miette::{IntoDiagnostic as _, WrapErr as _, miette};
use secrecy::ExposeSecret as _;

use crate::{
    catalog::model::DEFAULT_SOURCE,
    clock::Clock,
    config::{Config, ConfigError},
    db::Database,
    source::{
        detach::{Attached, Detachment, TriggerLeft, attach, detach},
        list::{Overview, overview},
        rebase::{Rebased, Unread, elsewhere::rebase_elsewhere, rebase},
        uninstall::{Inventory, RoleLeft, Uninstalled, inventory, uninstall},
    },
};

/// Shows sources, detaches, rebases and uninstalls them
#[derive(Args, Debug)]
pub struct SourceArgs {
    #[command(subcommand)]
    command: SourceCommand,
}

#[derive(Debug, Subcommand)]
enum SourceCommand {
    /// Tells how each source fares
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Takes the triggers off, because Rowcall will be away for long
    Detach {
        /// The source's name
        name: String,
        /// Only of this object type
        #[arg(long, value_name = "NAME")]
        object_type: Option<String>,
    },
    /// Puts the triggers on again, and tells subscribers what was not captured
    Attach {
        /// The source's name
        name: String,
        /// Only of this object type
        #[arg(long, value_name = "NAME")]
        object_type: Option<String>,
    },
    /// Reads on after the database was restored, replaced or rewound
    Rebase {
        /// The source's name
        name: String,
        /// What becomes of the changes that are captured and not published
        #[arg(long, value_enum, default_value = "publish")]
        unread: Unread,
    },
    /// Removes everything of Rowcall from its database
    Uninstall {
        /// The source's name: `default`
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Runs the sub-command.
///
/// # Errors
///
/// If the database can't be reached, there is no such source, or a table stays in use.
pub async fn run(args: SourceArgs, config: &Config) -> miette::Result<()> {
    let url = config
        .database_url
        .as_ref()
        .ok_or(ConfigError::NoDatabase)?;
    let database = Database::new(url.expose_secret(), 1);
    let now = Clock::System.now();
    let text = match args.command {
        SourceCommand::List { json } => {
            let overviews = database.transaction(overview).await?;
            if json {
                let text = serde_json::to_string_pretty(&overviews).into_diagnostic()?;
                format!("{text}\n")
            } else {
                overviews.iter().map(overview_text).collect()
            }
        }
        SourceCommand::Detach { name, object_type } => {
            let done = detach(&database, &name, object_type.as_deref(), now).await?;
            detachment_text(&done)
        }
        SourceCommand::Attach { name, object_type } => {
            let bytes = config.limits.value_bytes_max;
            let done = attach(&database, &name, object_type.as_deref(), bytes, now).await?;
            attached_text(&done)
        }
        SourceCommand::Rebase { name, unread } => {
            let done = if name == DEFAULT_SOURCE {
                rebase(&database, &name, unread).await?
            } else {
                elsewhere(&database, &name, unread, config).await?
            };
            rebased_text(&name, &done, unread)
        }
        SourceCommand::Uninstall { name, yes } => remove(&database, &name, yes, now).await?,
    };
    print(&text)
}

async fn elsewhere(
    database: &Database,
    name: &str,
    unread: Unread,
    config: &Config,
) -> miette::Result<Rebased> {
    if unread == Unread::Publish {
        return Err(miette!(
            help = "add --unread skip; subscribers are told of the gap, and may read the rows anew",
            "source {name} is another database: what it captured and was not copied can't be told \
             from what was, so it can only be skipped"
        ));
    }
    let url = config.sources.url(name).ok_or_else(|| {
        miette!(
            help = "say where it is in [source.{name}] in rowcall.toml",
            "the source {name} is not configured"
        )
    })?;
    Ok(rebase_elsewhere(database, name, url).await?)
}

async fn remove(
    database: &Database,
    name: &str,
    yes: bool,
    now: DateTime<Utc>,
) -> miette::Result<String> {
    let found = inventory(database, name).await?;
    print(&inventory_text(&found))?;
    if !yes && !confirmed(name)? {
        return Err(miette!("nothing was removed"));
    }
    match uninstall(database, name, now).await? {
        Uninstalled::TriggersLeft(left) => {
            let help = format!(
                "have their owners run these statements, then run the command again:\n{}",
                statements(&left)
            );
            Err(miette!(
                help = help,
                "nothing is captured any more, but {} triggers belong to tables of others. They do \
                 nothing now; the schema rowcall stays until they are gone, because without it \
                 every write to those tables would fail",
                left.len()
            ))
        }
        Uninstalled::Done { role_left } => Ok(match role_left {
            None => "removed; nothing of Rowcall is left\n".to_owned(),
            Some(RoleLeft::InUse) => "removed from this database; the role rowcall_capture stays, \
                                      because another database of the cluster uses it\n"
                .to_owned(),
            Some(RoleLeft::Refused) => "removed; the role rowcall_capture is left, and an \
                                        administrator may run: DROP ROLE rowcall_capture;\n"
                .to_owned(),
        }),
    }
}

fn confirmed(name: &str) -> miette::Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(miette!(
            help = "add --yes to remove it without being asked",
            "there is no terminal to confirm at; nothing was removed"
        ));
    }
    print(&format!("Type the source's name ({name}) to remove it: "))?;
    let mut line = String::new();
    stdin.lock().read_line(&mut line).into_diagnostic()?;
    Ok(line.trim() == name)
}

fn inventory_text(found: &Inventory) -> String {
    format!(
        "This removes {} triggers on {} tables, and the schema rowcall with all events, \
         subscriptions and metadata.\n{} captured changes are not published, and {} deliveries are \
         not settled; nobody will be told of them.\n",
        found.triggers, found.tables, found.changes_unread, found.deliveries_unsettled
    )
}

fn detachment_text(done: &Detachment) -> String {
    let mut text = String::new();
    for object_type in &done.object_types {
        let _ = writeln!(text, "{object_type} is no longer captured");
    }
    if done.object_types.is_empty() {
        text.push_str("the source is detached; it has no object types\n");
    }
    if !done.left.is_empty() {
        let _ = write!(
            text,
            "\nThese triggers do nothing any more; only the tables' owners can drop them:\n{}",
            statements(&done.left)
        );
    }
    text
}

fn statements(left: &[TriggerLeft]) -> String {
    left.iter()
        .map(|trigger| format!("{} -- as {}\n", trigger.drop_statement(), trigger.owner))
        .collect()
}

fn attached_text(done: &[Attached]) -> String {
    let mut text = String::new();
    for attached in done {
        let name = &attached.object_type;
        let _ = if attached.is_captured {
            writeln!(
                text,
                "{name} is captured again; its subscribers are told that nothing was from {} to {}",
                attached.span.from.map_or_else(|| "?".to_owned(), time),
                time(attached.span.to)
            )
        } else {
            writeln!(
                text,
                "{name} is not captured: its table, or the object type, is gone"
            )
        };
    }
    if done.is_empty() {
        text.push_str("nothing was detached\n");
    }
    text
}

fn rebased_text(name: &str, done: &Rebased, unread: Unread) -> String {
    match done {
        Rebased::Skipped { reason } => format!(
            "source {name} was stopped: {reason}\nit is read on from its present state, and \
             subscribers are told of the gap\n"
        ),
        Rebased::NotStopped => format!("nothing to do: source {name} is not stopped\n"),
        Rebased::Done {
            reason,
            unread: count,
            renumbered,
        } => {
            let mut text = format!("source {name} was stopped: {reason}\n");
            if *renumbered > 0 {
                let _ = writeln!(text, "{renumbered} changes were numbered anew");
            }
            let fate = match unread {
                Unread::Publish => "are published first",
                Unread::Skip => "are skipped, and subscribers are told of the gap",
            };
            let _ = writeln!(text, "it is read on; {count} unread changes {fate}");
            text
        }
    }
}

fn overview_text(source: &Overview) -> String {
    let mut text = source.name.clone();
    if let Some(database) = &source.database {
        let _ = write!(text, " (database {database})");
    }
    let _ = write!(text, ": {}", source.state.as_str());
    if let Some(since) = source.since {
        let _ = write!(text, " since {}", time(since));
    }
    text.push('\n');
    if let Some(reason) = &source.reason {
        let name = &source.name;
        let _ = writeln!(text, "  why:      {reason}");
        let _ = writeln!(text, "  to go on: rowcall source rebase {name}");
    }
    let _ = writeln!(text, "  position: {}", source.position);
    let unread = match (source.changes_unread, source.is_counted_in_part) {
        (Some(1), _) => "1 change".to_owned(),
        (Some(count), false) => format!("{count} changes"),
        (Some(count), true) => format!("{count} changes or more"),
        (None, _) => "counted only in its own database".to_owned(),
    };
    let _ = writeln!(text, "  unread:   {unread}");
    if let Some(epoch) = &source.epoch {
        let _ = writeln!(
            text,
            "  epoch:    system {}, database {}, timeline {}",
            epoch.system_identifier, epoch.database_oid, epoch.timeline
        );
    }
    for gap in &source.gaps {
        let of = gap.object_type.as_deref().unwrap_or("all object types");
        let begin = gap.began_at.map_or_else(|| "?".to_owned(), time);
        let end = gap.ended_at.map_or_else(|| "now".to_owned(), time);
        let _ = write!(text, "  gap:      {}, {of}, {begin} to {end}", gap.reason);
        if let Some(changes) = gap.changes {
            let _ = write!(text, ", {changes} changes");
        }
        text.push('\n');
    }
    text
}

fn time(time: DateTime<Utc>) -> String {
    time.format("%FT%TZ").to_string()
}

fn print(text: &str) -> miette::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .into_diagnostic()
        .wrap_err("the answer could not be written")
}
