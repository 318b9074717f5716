//! What processes have used so far, as Linux tells it.

use std::fs;

/// `USER_HZ`, in which Linux tells of processor time on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process has used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Of resident memory, now and at its highest, in MB.
    pub(crate) memory_mb: f64,
    pub(crate) memory_peak_mb: f64,
    /// Of processor time, in user and kernel mode.
    pub(crate) cpu_seconds: f64,
}

impl Usage {
    /// Of a process that runs.
    pub(crate) fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let kb = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let value = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
            value.map_or(f64::NAN, |kb| kb.parse().unwrap())
        };
        Self {
            memory_mb: kb("VmRSS:") * 1024.0 / 1e6,
            memory_peak_mb: kb("VmHWM:") * 1024.0 / 1e6,
            cpu_seconds: Times::of(&pid.to_string()).unwrap().own_seconds,
        }
    }
}

/// The processor time of a process and of all the children that it has or had.
pub(crate) fn family_cpu_seconds(pid: u32) -> f64 {
    let parent = Times::of(&pid.to_string()).unwrap();
    let mut seconds = parent.own_seconds + parent.ended_children_seconds;
    for entry in fs::read_dir("/proc").unwrap() {
        let name = entry.unwrap().file_name();
        let times = name.to_str().and_then(Times::of);
        if let Some(child) = times.filter(|times| times.parent == pid) {
            seconds += child.own_seconds;
        }
    }
    seconds
}

/// What /proc/PID/stat tells of time.
struct Times {
    parent: u32,
    own_seconds: f64,
    ended_children_seconds: f64,
}

impl Times {
    /// Of a process; nothing if there is none of that name.
    fn of(pid: &str) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field, a name in parentheses, may have spaces. Behind it come the state, the
        // parent, and as 14th to 17th the times.
        let (_, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let seconds = |place: usize| {
            let ticks = fields.get(place)?.parse::<f64>().ok()?;
            Some(ticks / TICKS_PER_SECOND)
        };
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own_seconds: seconds(11)? + seconds(12)?,
            ended_children_seconds: seconds(13)? + seconds(14)?,
        })
    }
}
