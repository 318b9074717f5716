//! Rowcall: a Postgres-backed notification service.
//!
//! Services write rows as they always did. Rowcall captures each change inside the writer's
//! transaction, makes events of it after the commit, and tells every subscriber in its own way: at
//! once, as soon as those were told, or in a digest.
//!
//! ```text
//! writer's transaction            publish                         deliver                 sink
//! row change -> trigger -> change table -> events, deliveries -> claim, send, record -> webhook,
//!                     \- doorbell, only while the reader sleeps                            e-mail
//!                                        \- members of digests -> close, condense -'
//! ```
//!
//! Everything between the arrows is a table of the schema `rowcall`, so that any part may die at
//! any moment. The parts are stages of one shape, [`stage::Stage`]: `run_once(now)` does a bounded
//! piece of work and is harmless when repeated. A nudge only makes a stage look sooner.
//!
//! # What always holds
//!
//! 1. Nothing committed is lost, and nothing rolled back is sent: the cursor is a snapshot, and it
//!    moves in the transaction that writes the events.
//! 2. An event has the same id and body on every attempt.
//! 3. Per subscription and object, first receipts come in the order of the changes: a delivery is
//!    claimed only when those before it in its lane are settled.
//! 4. Of one event, the synchronous deliveries are tried before the delayed ones start; of a batch
//!    subscription, each event is in exactly one digest.
//! 5. A writer's statement never fails, and never waits, because of Rowcall; only a commit that
//!    wakes a sleeping reader notifies.
//! 6. No transaction is open during a send, and a delivery is finished only by the holder of its
//!    lease.
//! 7. A lost notification costs time only.
//! 8. A poisoned row, condition, template or receiver does not stop its neighbours.
//! 9. Everything that grows or waits has a named limit.
//! 10. Secrets, and masked and excluded columns, are in no log, error or event.
//!
//! docs/ARCHITECTURE.md names the tests that show each, walks a change through the files, draws the
//! states of a delivery, and says what is deliberately absent.
//!
//! # The modules, in reading order
//!
//! First what runs and how: [`app`] puts the parts together, [`stage`] drives them. Then the way of
//! a change: [`capture`], [`publish`], [`deliver`] and [`digest`], [`sink`]. Then what decides who
//! is told of what: [`catalog`], [`constraint`], [`subscription`], and [`registry`], which is all
//! of them at run time; [`start`] is how a subscription begins with what is there already, and
//! [`expr`] the language of their conditions. [`upkeep`] is what hurries nobody, and [`lookout`]
//! looks whether others left something to do; [`foreign`] is the rows of other databases, and
//! [`source`] what operators do to what is captured; [`account`] tells what became of every change,
//! [`explain`] what of one event for one subscription, and [`doctor`] where changes may not be
//! captured. Around them: [`api`] and [`auth`], [`observe`], [`config`],
//! [`db`], [`clock`], [`id`].

// Apart from each other, or rustfmt would sort them.

pub mod app;

pub mod stage;

pub mod capture;

pub mod publish;

pub mod start;

pub mod deliver;

pub mod digest;
pub mod replay;

pub mod sink;

pub mod catalog;

pub mod constraint;

pub mod subscription;

pub mod registry;

pub mod expr;

pub mod upkeep;

pub mod lookout;

pub mod verification;

pub mod foreign;

pub mod source;

pub mod account;

pub mod explain;

pub mod doctor;

pub mod api;

pub mod auth;

pub mod observe;

pub mod config;

pub mod db;

pub mod clock;
pub mod id;

pub mod cli;

pub mod private_postgres;

pub mod nearest;
pub mod pace;
