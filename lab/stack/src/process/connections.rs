//! The connections of a process, from proc(5): `/proc/PID/net/tcp` and `/proc/PID/fd`.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::{fs, io};

/// The established connections of a process to the port of an address, each by the name of its socket.
pub(super) fn to(remote: SocketAddr, process: u32) -> io::Result<HashSet<String>> {
    let table = if remote.is_ipv4() { "tcp" } else { "tcp6" };
    let table = fs::read_to_string(format!("/proc/{process}/net/{table}"))?;
    let port = format!(":{:04X}", remote.port());
    let sockets: HashSet<String> = table.lines().filter_map(|line| socket(line, &port)).collect();
    let files = fs::read_dir(format!("/proc/{process}/fd"))?;
    let open = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    Ok(open.map(|link| link.to_string_lossy().into_owned()).filter(|link| sockets.contains(link)).collect())
}

/// Field 2 is the remote address, 3 the state (`01`: established), 9 the inode.
fn socket(line: &str, port: &str) -> Option<String> {
    let mut fields = line.split_whitespace().skip(2);
    let to = fields.next()?.ends_with(port);
    let established = fields.next()? == "01";
    let inode = fields.nth(5)?;
    (to && established).then(|| format!("socket:[{inode}]"))
}
