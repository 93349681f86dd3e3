//! A network of a cluster's own: each node in a network namespace, with one wire to a switch in another. What passes from
//! node to node can be lost there, all of it or by chance, one way or both; clients reach every node all the while.
//!
//! It takes root, `ip` and `nft`. The addresses, in 10.128.0.0/9, are known only here and in these namespaces. Whatever is
//! made carries the number of this process in its name, and goes when the network is dropped; what a process that is gone
//! has left is removed when the next network is made, with whoever still runs in it.

use std::{
    fmt::{self, Write as _},
    fs,
    io::{self, Write as _},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Stdio, id},
    sync::atomic::{AtomicU16, Ordering},
};

/// Where namespaces are that have a name.
const NAMESPACES: &str = "/run/netns";
/// How the names of ours begin.
const OURS: &str = "althing";
/// Where nodes listen for clients.
const API_PORT: u16 = 7411;
/// Where nodes listen for each other.
const PEER_PORT: u16 = 7511;
/// How many networks there can be on a machine at a time.
const SLOTS: u16 = 1 << 15;
/// How many of them are tried before it is given up.
const TRIED: u16 = 64;
/// The last number of our own address in it.
const OURSELVES: u8 = 254;

/// What is lost on the way from one node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Who sends it.
    pub from: u64,
    /// Who does not get it.
    pub to: u64,
    /// What of it.
    pub what: Lost,
}

/// What is lost of that which is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// All of it.
    All,
    /// So many packets of a hundred, by chance.
    Percent(u8),
    /// What is for the peer listener; answers to what the other has asked pass.
    Asked,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, what } = self;
        match what {
            Lost::All => write!(f, "{from} ✗ {to}"),
            Lost::Percent(percent) => write!(f, "{from} ✗ {to} {percent} %"),
            Lost::Asked => write!(f, "{from} ✗ {to} asking"),
        }
    }
}

/// The network; dropping it removes it.
#[derive(Debug)]
pub struct Network {
    /// Which of the networks of this machine it is.
    slot: u16,
    /// The namespaces that were made.
    namespaces: Vec<String>,
}

impl Network {
    /// Makes one without nodes.
    ///
    /// # Errors
    /// What this machine lacks.
    pub fn make() -> Result<Self, String> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        remove_remains()?;
        let first = (id() as u16).wrapping_mul(31);
        let mut said = String::new();
        for _ in 0..TRIED {
            let slot = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % SLOTS;
            if is_routed(slot)? {
                continue;
            }
            let mut network = Self { slot, namespaces: Vec::new() };
            match network.lay_out() {
                Ok(()) => return Ok(network),
                // Somebody has this one.
                Err(why) if why.contains("File exists") => said = why,
                Err(why) => return Err(why),
            }
        }
        Err(format!("no part of 10.128.0.0/9 is free: {said}"))
    }

    /// Whether this machine can: tried once, with two nodes.
    ///
    /// # Errors
    /// Why not.
    pub fn works() -> Result<(), String> {
        let mut network = Self::make()?;
        network.attach(1)?;
        network.attach(2)?;
        network.lose(&[
            Loss { from: 1, to: 2, what: Lost::Percent(50) },
            Loss { from: 2, to: 1, what: Lost::Asked },
        ])
    }

    /// The switch, in a namespace of its own, and our wire to it. That wire's name is the network's: whoever comes second
    /// cannot make it.
    fn lay_out(&mut self) -> Result<(), String> {
        let switch = self.name("switch");
        self.add(&switch)?;
        let (slot, ours) = (self.slot, address(self.slot, OURSELVES));
        ip(
            None,
            &format!(
                "link add name {OURS}{slot:04x} type veth peer name clients netns {switch}\n\
                 addr add {ours}/24 dev {OURS}{slot:04x}\n\
                 link set dev {OURS}{slot:04x} up\n"
            ),
        )?;
        ip(
            Some(&switch),
            "link add name switch type bridge\n\
             link set dev clients master switch\n\
             link set dev clients up\n\
             link set dev switch up\n",
        )
    }

    /// Makes the namespace of a node, with a wire to the switch.
    ///
    /// # Errors
    /// What the system says.
    pub fn attach(&mut self, node: u64) -> Result<(), String> {
        let (switch, own) = (self.name("switch"), self.name(&node.to_string()));
        self.add(&own)?;
        let wire = wire(node);
        ip(
            Some(&switch),
            &format!(
                "link add name {wire} type veth peer name wire netns {own}\n\
                 link set dev {wire} master switch\n\
                 link set dev {wire} up\n"
            ),
        )?;
        let at = self.address(node);
        // A node may ask itself at its own address.
        ip(Some(&own), &format!("link set dev lo up\naddr add {at}/24 dev wire\nlink set dev wire up\n"))
    }

    /// From now on this is lost, and nothing else.
    ///
    /// # Errors
    /// What the system says.
    pub fn lose(&self, losses: &[Loss]) -> Result<(), String> {
        let mut rules = String::from("table bridge wires\ndelete table bridge wires\ntable bridge wires {\n");
        rules.push_str("chain forward { type filter hook forward priority 0;\n");
        for Loss { from, to, what } in losses {
            let (from, to) = (wire(*from), wire(*to));
            let what = match what {
                Lost::All => String::new(),
                Lost::Percent(percent) => format!("numgen random mod 100 < {percent}"),
                Lost::Asked => format!("tcp dport {PEER_PORT}"),
            };
            writeln!(rules, "iifname {from} oifname {to} {what} drop").expect("a text takes any text");
        }
        rules.push_str("}\n}\n");
        let mut nft = Command::new("ip");
        nft.args(["netns", "exec", &self.name("switch"), "nft", "-f", "-"]);
        run(&mut nft, &rules)
    }

    /// Nothing is lost any more.
    ///
    /// # Errors
    /// What the system says.
    pub fn mend(&self) -> Result<(), String> {
        self.lose(&[])
    }

    /// Where a node listens for clients.
    #[must_use]
    pub fn api(&self, node: u64) -> String {
        format!("{}:{API_PORT}", self.address(node))
    }

    /// Where a node listens for nodes.
    #[must_use]
    pub fn peer(&self, node: u64) -> String {
        format!("{}:{PEER_PORT}", self.address(node))
    }

    /// The namespace of a node, as a process enters it.
    #[must_use]
    pub fn namespace(&self, node: u64) -> PathBuf {
        Path::new(NAMESPACES).join(self.name(&node.to_string()))
    }

    fn address(&self, node: u64) -> Ipv4Addr {
        let node = u8::try_from(node).ok().filter(|&node| node < OURSELVES);
        address(self.slot, node.expect("a cluster has fewer nodes than its network has addresses"))
    }

    fn name(&self, of: &str) -> String {
        format!("{OURS}-{}-{:04x}-{of}", id(), self.slot)
    }

    fn add(&mut self, namespace: &str) -> Result<(), String> {
        ip(None, &format!("netns add {namespace}\n"))?;
        self.namespaces.push(namespace.to_owned());
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for namespace in &self.namespaces {
            // Its wires go with it.
            let _ = ip(None, &format!("netns del {namespace}\n"));
        }
    }
}

/// The end of a node's wire that is at the switch.
fn wire(node: u64) -> String {
    format!("node-{node}")
}

fn address(slot: u16, last: u8) -> Ipv4Addr {
    let [high, low] = slot.to_be_bytes();
    Ipv4Addr::new(10, 128 | high, low, last)
}

/// Whether this machine knows a way to these addresses, besides the one to everywhere.
fn is_routed(slot: u16) -> Result<bool, String> {
    let whole = format!("{}/24", address(slot, 0));
    let told = Command::new("ip").args(["route", "show", "match", &whole]).output();
    let told = told.map_err(|error| format!("ip: {error}"))?;
    Ok(String::from_utf8_lossy(&told.stdout).lines().any(|line| !line.starts_with("default")))
}

/// Removes what processes that are gone have left, and ends whoever runs in it.
fn remove_remains() -> Result<(), String> {
    let Ok(entries) = fs::read_dir(NAMESPACES) else { return Ok(()) };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if owner(&name).is_none_or(|owner| Path::new("/proc").join(owner.to_string()).exists()) {
            continue;
        }
        let told = Command::new("ip").args(["netns", "pids", &name]).output();
        let told = told.map_err(|error| format!("ip: {error}"))?;
        for pid in String::from_utf8_lossy(&told.stdout).split_whitespace() {
            // It may have ended meanwhile.
            let _ = Command::new("kill").args(["-9", pid]).status();
        }
        // Another process may have been quicker.
        let _ = ip(None, &format!("netns del {name}\n"));
    }
    Ok(())
}

/// The process that made a namespace, if it is one of ours.
fn owner(namespace: &str) -> Option<u32> {
    let mut parts = namespace.split('-');
    if parts.next() != Some(OURS) {
        return None;
    }
    parts.next()?.parse().ok()
}

/// A row of `ip` commands, in a namespace if one is named.
fn ip(namespace: Option<&str>, commands: &str) -> Result<(), String> {
    let mut ip = Command::new("ip");
    if let Some(namespace) = namespace {
        ip.args(["-n", namespace]);
    }
    run(ip.args(["-batch", "-"]), commands)
}

fn run(command: &mut Command, input: &str) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |error: io::Error| format!("{program}: {error}");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    // What it does not read it says no to, in words that are worth more.
    let _ = child.stdin.take().expect("it was asked for").write_all(input.as_bytes());
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

#[cfg(test)]
mod tests {
    use super::{Loss, Lost, Network, owner, remove_remains};
    use crate::skip::skipped;
    use std::{
        fs::File,
        io,
        net::{SocketAddr, TcpStream},
        os::fd::AsRawFd as _,
        time::Duration,
    };

    /// Does something in a namespace, in a thread that ends there.
    #[expect(unsafe_code, reason = "the standard library enters no namespaces")]
    fn within<T: Send + 'static>(
        network: &Network,
        node: u64,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let namespace = File::open(network.namespace(node)).expect("it was made");
        let inside = move || {
            // SAFETY: it changes this thread alone, which ends in it.
            assert_eq!(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }, 0);
            work()
        };
        std::thread::spawn(inside).join().expect("it does not panic")
    }

    /// Whether a node that does not listen says so when it is asked: `from` 0 is us.
    fn reaches(network: &Network, from: u64, to: String) -> bool {
        let to: SocketAddr = to.parse().expect("an address");
        let ask = move || {
            let asked = TcpStream::connect_timeout(&to, Duration::from_millis(1500));
            asked.expect_err("nobody listens").kind() == io::ErrorKind::ConnectionRefused
        };
        if from == 0 { ask() } else { within(network, from, ask) }
    }

    #[test]
    fn what_is_lost_between_two_nodes_is_lost_there_and_nowhere_else() {
        if skipped("a network of namespaces", Network::works()) {
            return;
        }
        let mut network = Network::make().expect("it works");
        for node in 1..=3 {
            network.attach(node).expect("it works");
        }
        let name = network.namespace(1);
        assert!(reaches(&network, 1, network.peer(2)) && reaches(&network, 0, network.peer(2)));
        network.lose(&[Loss { from: 1, to: 2, what: Lost::All }]).expect("it works");
        assert!(!reaches(&network, 1, network.peer(2)), "what is asked is lost");
        assert!(!reaches(&network, 2, network.peer(1)), "what is answered is lost");
        assert!(reaches(&network, 1, network.peer(3)) && reaches(&network, 2, network.peer(3)));
        assert!(reaches(&network, 0, network.api(1)) && reaches(&network, 0, network.api(2)));
        network.lose(&[Loss { from: 1, to: 2, what: Lost::Asked }]).expect("it works");
        assert!(!reaches(&network, 1, network.peer(2)) && reaches(&network, 2, network.peer(1)));
        network.mend().expect("it works");
        assert!(reaches(&network, 1, network.peer(2)) && reaches(&network, 2, network.peer(1)));
        drop(network);
        assert!(!name.exists(), "nothing of it is left");
    }

    #[test]
    fn what_a_process_left_that_is_gone_is_removed() {
        if skipped("a network of namespaces", Network::works()) {
            return;
        }
        // No process has this number: it is beyond the largest.
        let left = "althing-4194305-0000-1";
        super::ip(None, &format!("netns add {left}\n")).expect("it works");
        let network = Network::make().expect("it works");
        assert!(!std::path::Path::new(super::NAMESPACES).join(left).exists(), "it was removed");
        assert!(network.namespace(1).parent().is_some_and(std::path::Path::exists));
        remove_remains().expect("it works");
        assert!(std::path::Path::new(super::NAMESPACES).join(network.name("switch")).exists());
    }

    #[test]
    fn namespaces_of_others_are_nobodys() {
        assert_eq!(owner("althing-77-0001-switch"), Some(77));
        assert_eq!([owner("blue"), owner("althing"), owner("althing-x-1")], [None; 3]);
    }
}
