//! The memory of this process and of the machine around it, where Linux tells.

use std::fs;

/// Bytes of memory that this process takes now.
pub(crate) fn memory() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Bytes of memory that this process may take: the container's limit, or all of the machine's.
pub(crate) fn memory_allowed() -> Option<u64> {
    let machine = kibibytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")?;
    let of_container = fs::read_to_string("/sys/fs/cgroup/memory.max");
    let container: Option<u64> = of_container.ok().and_then(|max| max.trim().parse().ok());
    Some(container.map_or(machine, |container| container.min(machine)))
}

/// Reads a line such as `VmRSS:     1234 kB`.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(number.saturating_mul(1_024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_is_found_and_read() {
        let text = "VmPeak:\t  2000 kB\nVmRSS:\t    12 kB\n";
        assert_eq!(kibibytes(text, "VmRSS:"), Some(12 * 1_024));
        assert_eq!(kibibytes(text, "VmHWM:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn process_takes_less_than_it_may() {
        assert!(memory().unwrap() < memory_allowed().unwrap());
    }
}
