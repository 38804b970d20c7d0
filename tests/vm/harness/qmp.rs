//! The few orders a test gives to QEMU itself, in its machine protocol.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Gives one order, `quit`, `system_powerdown` or `system_reset`. `false` where QEMU is not there to take it.
pub fn order(socket: &Path, name: &str) -> bool {
    try_order(socket, name).is_ok_and(|answer| answer.contains("\"return\""))
}

fn try_order(socket: &Path, name: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines().take(100);
    lines.next().transpose()?; // The greeting.
    let mut answer = String::new();
    for execute in ["qmp_capabilities", name] {
        writeln!(stream, "{{\"execute\":\"{execute}\"}}")?;
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
