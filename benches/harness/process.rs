//! What a process has used so far, as Linux tells it.

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
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        // The name, in parentheses, may have spaces; user and system time are the 14th and 15th.
        let (_, rest) = stat.rsplit_once(") ").unwrap();
        let ticks = rest.split(' ').skip(11).take(2);
        let ticks: f64 = ticks.map(|field| field.parse::<f64>().unwrap()).sum();
        Self {
            memory_mb: kb("VmRSS:") * 1024.0 / 1e6,
            memory_peak_mb: kb("VmHWM:") * 1024.0 / 1e6,
            cpu_seconds: ticks / TICKS_PER_SECOND,
        }
    }
}
