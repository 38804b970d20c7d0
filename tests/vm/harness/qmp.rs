//! The few orders a test gives to QEMU itself, in its machine protocol.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Gives one order, `quit`, `system_powerdown` or `system_reset`. `false` where QEMU is not there to take it.
pub fn order(socket: &Path, name: &str) -> bool {
    try_order(socket, name, "{}").is_ok_and(|answer| answer.contains("\"return\""))
}

/// Gives an order with arguments, a JSON object. Panics where QEMU does not carry it out.
pub fn order_with(socket: &Path, name: &str, arguments: &str) {
    let answer = try_order(socket, name, arguments).unwrap();
    assert!(answer.contains("\"return\""), "QEMU was told {name} {arguments} and said {answer}");
}

/// How many writes of the drive with this id have ended.
///
/// # Errors
/// QEMU is not there to say.
pub fn writes(socket: &Path, drive: &str) -> std::io::Result<u64> {
    let answer = try_order(socket, "query-blockstats", "{}")?;
    let answer: serde_json::Value = serde_json::from_str(&answer)?;
    let drives = answer["return"].as_array().cloned().unwrap_or_default();
    let drive = drives.iter().find(|one| one["device"] == drive);
    drive.and_then(|one| one["stats"]["wr_operations"].as_u64()).ok_or_else(|| std::io::Error::other("no such drive"))
}

fn try_order(socket: &Path, name: &str, arguments: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines().take(100);
    lines.next().transpose()?; // The greeting.
    let mut answer = String::new();
    for (execute, arguments) in [("qmp_capabilities", "{}"), (name, arguments)] {
        writeln!(stream, "{{\"execute\":\"{execute}\",\"arguments\":{arguments}}}")?;
        // Events may come before the answer.
        for line in lines.by_ref() {
            answer = line?;
            if answer.contains("\"return\"") || answer.contains("\"error\"") {
                break;
            }
        }
    }
    Ok(answer)
}
