//! Section `terminals`: the peers of the appliance's outputs. The class says which terminals there are.

use super::DnsName;
use super::document::{Place, invalid, key_path};
use super::names::ip_address;
use crate::document::{At, Refusal};
use crate::error::Result;
use std::net::IpAddr;

/// The most peers of one terminal.
const MAX_PEERS: usize = 1024;

/// One terminal of the settings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Terminal {
    /// Its name in the class.
    pub name: String,
    /// Where it is written.
    pub(crate) place: Option<Place>,
    /// Whom it leads to, in the order of the settings.
    pub peers: Vec<Peer>,
}

impl Terminal {
    /// The path to it in the settings.
    pub fn path(&self) -> String {
        key_path("terminals", &self.name)
    }
}

/// Another appliance.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Peer {
    /// One label, by which it is told from the terminal's other peers.
    pub name: DnsName,
    /// Its address.
    pub address: IpAddr,
    /// The port of its input, 1 to 65535.
    pub port: u16,
}

pub(super) fn read(at: &At<'_>) -> Result<Vec<Terminal>> {
    let mut terminals = Vec::new();
    for entry in at.entries()? {
        let at = at.value_of(entry);
        let peers = at.list(0..=MAX_PEERS, |at| peer(&at))?;
        terminals.push(Terminal { name: entry.key.clone(), place: entry.place, peers });
    }
    Ok(terminals)
}

/// Refuses two peers of one terminal with the same name.
pub(super) fn check(terminals: &[Terminal]) -> Result<()> {
    for terminal in terminals {
        for (index, peer) in terminal.peers.iter().enumerate() {
            if let Some(first) = terminal.peers.iter().take(index).position(|other| other.name == peer.name) {
                let problem = format_args!("has the peer `{}` twice, as numbers {first} and {index}", peer.name);
                return Err(invalid(&terminal.path(), terminal.place, problem, "give each peer a name of its own"));
            }
        }
    }
    Ok(())
}

fn peer(at: &At<'_>) -> Result<Peer> {
    let table = at.table(&["name", "address", "port"])?;
    let port = table.required("port", |at| at.integer_u32(1..=65_535))?;
    Ok(Peer {
        name: table.required("name", |at| at.parsed(label))?,
        address: table.required("address", |at| at.parsed(ip_address))?,
        port: u16::try_from(port).unwrap_or(u16::MAX),
    })
}

fn label(text: &str) -> Result<DnsName, Refusal> {
    match DnsName::parse(text) {
        Ok(name) if !text.contains(['.', '_']) => Ok(name),
        _ => {
            Err(Refusal::new("is not the name of a peer", "write one label of letters, digits and hyphens, like web1"))
        }
    }
}
