//! The libraries of docs/receivers by themselves: how long they are, and what they do where a
//! handler fails, which their servers never let happen.

use std::{path::Path, process::Command};

/// What the issue asks for.
const LINES_MAX: usize = 30;
/// Longer ones would only hide how much there is.
const COLUMNS_MAX: usize = 110;

/// What is done with each, and what it has then: the numbers that it handled (`!`: it failed), and
/// how often it asked what it had missed; then up to where it is done, but for which.
const EXPECTED: &str = "\
    1 4 5, asked 1, top 5 but 3\n\
    6, asked 1, top 6 but 3\n\
    8 9, asked 2, top 9 but 3 7\n\
    3, asked 3, top 9 but 7\n\
    7, asked 3, top 9 but \n\
    , asked 3, top 9 but \n\
    !, asked 3, top 9 but \n\
    11, asked 4, top 11 but 10\n\
    10, asked 4, top 11 but \n";

const PYTHON: &str = r#"
import logging, sys
sys.dont_write_bytecode = True
sys.path.insert(0, "docs/receivers")
from receiver import Receiver
logging.disable(logging.CRITICAL)

class Scripted(Receiver):
    top, missing, asked, known, bad, handled = 0, set(), 0, 0, 0, []
    states = ["delivered", "suppressed", "dead", "delivered", "delivered", "delivered", "sending",
              "delivered", "delivered", "pending", "sending"]
    def save(self): pass
    def handle(self, event):
        if int(event["sequence"]) == self.bad: raise RuntimeError("it can't be handled")
        self.handled.append(str(int(event["sequence"])))
    def since(self, after):
        self.asked += 1
        for number, state in enumerate(self.states[after:self.known], after + 1):
            item = {"sequence": f"{number:020}", "state": state, "event": event(number)}
            yield {"sequence": f"{number:020}", "tombstone": state} if state == "suppressed" else item

def event(number): return {"type": "t", "sequence": f"{number:020}"}
def beat(assigned, settled):
    data = {"assigned": f"{assigned:020}", "settled_through": f"{settled:020}"}
    return {"type": "rowcall.heartbeat", "data": data}

it = Scripted()
def step(known, *events, bad=0):
    it.known, it.bad = known, bad
    it.handled.clear()
    for one in events:
        try: it.receive(one)
        except RuntimeError: it.handled.append("!")
    print(f"{' '.join(it.handled)}, asked {it.asked}, top {it.top} but "
          + " ".join(map(str, sorted(it.missing))))

step(5, beat(5, 5), bad=3)
step(6, event(6))
step(9, event(9))
step(9, beat(9, 6))
step(9, event(7))
step(9, event(7), event(3), event(9))
step(10, event(10), bad=10)
step(11, event(11))
step(11, event(10), event(11))
"#;

const JAVASCRIPT: &str = r#"
const { Receiver } = await import(`${process.cwd()}/docs/receivers/receiver.mjs`);
console.error = () => {};
const digits = (number) => String(number).padStart(20, "0");
const event = (number) => ({ type: "t", sequence: digits(number) });
const beat = (assigned, settled) => ({ type: "rowcall.heartbeat",
  data: { assigned: digits(assigned), settled_through: digits(settled) } });
const states = ["delivered", "suppressed", "dead", "delivered", "delivered", "delivered", "sending",
  "delivered", "delivered", "pending", "sending"];

class Scripted extends Receiver {
  top = 0; missing = []; asked = 0; handled = [];
  save() {}
  handle({ sequence }) {
    if (Number(sequence) === this.bad) throw new Error("it can't be handled");
    this.handled.push(Number(sequence));
  }
  async *since(after) {
    this.asked += 1;
    for (let number = Number(after) + 1; number <= this.known; number++) {
      const [sequence, state] = [digits(number), states[number - 1]];
      yield state === "suppressed" ? { sequence, tombstone: state } : { sequence, state, event: event(number) };
    }
  }
}

const it = new Scripted();
async function step(known, events, bad = 0) {
  Object.assign(it, { known, bad, handled: [] });
  for (const one of events) await it.receive(one).catch(() => it.handled.push("!"));
  console.log(`${it.handled.join(" ")}, asked ${it.asked}, top ${it.top} but ${it.missing.join(" ")}`);
}

await step(5, [beat(5, 5)], 3);
await step(6, [event(6)]);
await step(9, [event(9)]);
await step(9, [beat(9, 6)]);
await step(9, [event(7)]);
await step(9, [event(7), event(3), event(9)]);
await step(10, [event(10)], 10);
await step(11, [event(11)]);
await step(11, [event(10), event(11)]);
"#;

const PHP: &str = r#"
ini_set('error_log', '/dev/null');
require 'docs/receivers/receiver.php';
function digits($number) { return sprintf('%020d', $number); }
function event($number) { return ['type' => 't', 'sequence' => digits($number)]; }
function beat($assigned, $settled) {
    $data = ['assigned' => digits($assigned), 'settled_through' => digits($settled)];
    return ['type' => 'rowcall.heartbeat', 'data' => $data];
}

class Scripted extends Receiver {
    public $top = 0, $missing = [], $asked = 0, $known, $bad, $handled;
    function save() {}
    function handle($event) {
        if ((int) $event['sequence'] === $this->bad) throw new Exception("it can't be handled");
        $this->handled[] = (int) $event['sequence'];
    }
    function since($after) {
        $states = ['delivered', 'suppressed', 'dead', 'delivered', 'delivered', 'delivered', 'sending',
            'delivered', 'delivered', 'pending', 'sending'];
        $this->asked++;
        for ($number = $after + 1; $number <= $this->known; $number++) {
            $state = $states[$number - 1];
            yield ['sequence' => digits($number)] + ($state === 'suppressed'
                ? ['tombstone' => $state] : ['state' => $state, 'event' => event($number)]);
        }
    }
}

$it = new Scripted();
function step($known, $events, $bad = 0) {
    global $it;
    [$it->known, $it->bad, $it->handled] = [$known, $bad, []];
    foreach ($events as $one) {
        try { $it->receive($one); } catch (Exception) { $it->handled[] = '!'; }
    }
    [$handled, $missing] = [implode(' ', $it->handled), implode(' ', $it->missing)];
    echo "$handled, asked $it->asked, top $it->top but $missing\n";
}

step(5, [beat(5, 5)], 3);
step(6, [event(6)]);
step(9, [event(9)]);
step(9, [beat(9, 6)]);
step(9, [event(7)]);
step(9, [event(7), event(3), event(9)]);
step(10, [event(10)], 10);
step(11, [event(11)]);
step(11, [event(10), event(11)]);
"#;

#[test]
fn one_event_that_cannot_be_handled_holds_up_no_others_and_is_met_again() {
    // GIVEN each library with a handler that fails WHEN events are lost, late and repeated
    for (program, arguments, script) in [
        ("python3", vec!["-c"], PYTHON),
        ("node", vec!["--input-type=module", "-e"], JAVASCRIPT),
        ("php", vec!["-r"], PHP),
    ] {
        let mut command = Command::new(program);
        command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(arguments)
            .arg(script);
        let output = command.output().unwrap();
        // THEN all of them do the same
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said, EXPECTED, "{program}: {errors}");
        assert!(output.status.success(), "{program}: {errors}");
    }
}

#[test]
fn a_library_is_thirty_lines_of_code() {
    for name in ["receiver.py", "receiver.mjs", "receiver.php"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("docs/receivers")
            .join(name);
        let text = std::fs::read_to_string(path).unwrap();
        let is_code = |line: &&str| {
            let line = line.trim();
            let is_comment = ["#", "//", "\"\"\""]
                .iter()
                .any(|begin| line.starts_with(begin));
            !line.is_empty() && !is_comment
        };
        let lines = text.lines().filter(is_code).count();
        assert!(lines <= LINES_MAX, "{name} has {lines} lines of code");
        let long = text.lines().find(|line| line.chars().count() > COLUMNS_MAX);
        assert_eq!(long, None, "{name}");
    }
}
