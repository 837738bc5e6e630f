//! Addresses of a subnet handed out through files, so that they outlive every process that hands them out.
//!
//! In the folder each file named like an address is a reservation and holds container id and interface name, a line
//! each. A lock file serialises writers of several processes; `last_reserved` makes it go round, so that an address
//! rests as long as possible before it is used again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use nix::fcntl::{Flock, FlockArg};

/// Tries in a subnet with more addresses than anyone would list.
const MAX_TRIES: u128 = 1 << 16;

const LOCK: &str = "lock";
const LAST: &str = "last_reserved";

/// Why no address can be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// All are in use.
    #[error("all addresses of {subnet} are in use: delete pods of this node or give it a larger pod subnet")]
    Exhausted {
        /// The subnet.
        subnet: IpNet,
    },
    /// The subnet has no address for a container.
    #[error("subnet {subnet} is too small for a gateway and containers")]
    TooSmall {
        /// The subnet.
        subnet: IpNet,
    },
    /// A file of the reservations.
    #[error("cannot use {path} for address reservations")]
    File {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

/// A reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The address.
    pub address: IpAddr,
    /// The container it is for.
    pub container: String,
    /// Its interface.
    pub interface: String,
}

/// The addresses of one subnet.
#[derive(Debug, Clone)]
pub struct Pool {
    folder: PathBuf,
    subnet: IpNet,
    gateway: IpAddr,
}

impl Pool {
    /// Addresses of `subnet`, noted in `folder`; the first address is the gateway's.
    ///
    /// # Errors
    /// When the subnet has fewer than two usable addresses.
    pub fn new(folder: &Path, subnet: IpNet) -> Result<Self, Error> {
        let subnet = subnet.trunc();
        let bits = u32::from(subnet.max_prefix_len() - subnet.prefix_len());
        if bits < 2 {
            return Err(Error::TooSmall { subnet });
        }
        let gateway = from_number(to_number(subnet.network()) + 1, subnet);
        Ok(Self { folder: folder.to_owned(), subnet, gateway })
    }

    /// The subnet.
    #[must_use]
    pub fn subnet(&self) -> IpNet {
        self.subnet
    }

    /// The first address, which is never handed out.
    #[must_use]
    pub fn gateway(&self) -> IpAddr {
        self.gateway
    }

    /// The gateway with the subnet's length, as a bridge has it.
    #[must_use]
    pub fn gateway_net(&self) -> IpNet {
        self.with_length(self.gateway)
    }

    /// An address with the subnet's length.
    #[must_use]
    pub fn with_length(&self, address: IpAddr) -> IpNet {
        IpNet::new(address, self.subnet.prefix_len()).unwrap_or_else(|_| IpNet::from(address))
    }

    /// Reserves an address; the one it has where the container has one for this interface.
    ///
    /// # Errors
    /// When none is free or the folder cannot be written.
    pub fn reserve(&self, container: &str, interface: &str) -> Result<IpAddr, Error> {
        fs::create_dir_all(&self.folder).map_err(|source| self.failed(&self.folder, source))?;
        let _lock = self.lock()?;
        let taken = self.list()?;
        let own = taken.iter().find(|held| held.container == container && held.interface == interface);
        if let Some(own) = own {
            return Ok(own.address);
        }
        let text = format!("{container}\n{interface}\n");
        for address in self.candidates() {
            if !taken.iter().any(|held| held.address == address) && self.note(address, &text)? {
                let last = self.folder.join(LAST);
                // Only a hint where to go on; losing it costs nothing.
                let _ = fs::write(&last, address.to_string());
                return Ok(address);
            }
        }
        Err(Error::Exhausted { subnet: self.subnet })
    }

    /// Gives back what a container has on an interface; nothing is fine.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn release(&self, container: &str, interface: &str) -> Result<Vec<IpAddr>, Error> {
        self.release_where(|held| held.container == container && held.interface == interface)
    }

    /// Gives back every reservation that `unwanted` picks, as those of containers that are gone.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn release_where(&self, unwanted: impl Fn(&Reservation) -> bool) -> Result<Vec<IpAddr>, Error> {
        if !self.folder.exists() {
            return Ok(Vec::new());
        }
        let _lock = self.lock()?;
        let mut released = Vec::new();
        for held in self.list()?.into_iter().filter(|held| unwanted(held)) {
            let path = self.folder.join(held.address.to_string());
            match fs::remove_file(&path) {
                Ok(()) => released.push(held.address),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(self.failed(&path, source)),
            }
        }
        Ok(released)
    }

    /// All reservations of this subnet.
    ///
    /// # Errors
    /// When the folder cannot be read; a missing one is empty.
    pub fn list(&self) -> Result<Vec<Reservation>, Error> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(self.failed(&self.folder, source)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| self.failed(&self.folder, source))?;
            let Some(address) = entry.file_name().to_str().and_then(|name| name.parse::<IpAddr>().ok())
            else {
                continue;
            };
            if !self.subnet.contains(&address) {
                continue;
            }
            let text = match fs::read_to_string(entry.path()) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(self.failed(&entry.path(), source)),
            };
            let mut lines = text.lines().map(str::to_owned);
            let container = lines.next().unwrap_or_default();
            let interface = lines.next().unwrap_or_default();
            found.push(Reservation { address, container, interface });
        }
        found.sort_by_key(|held| held.address);
        Ok(found)
    }

    /// Addresses in the order to try them: after the last one handed out, then round.
    fn candidates(&self) -> impl Iterator<Item = IpAddr> {
        let subnet = self.subnet;
        let bits = u32::from(subnet.max_prefix_len() - subnet.prefix_len());
        let network = to_number(subnet.network());
        // IPv4: neither network nor broadcast; the gateway has number 1.
        let highest = match (subnet, bits) {
            (IpNet::V4(_), _) => (1u128 << bits) - 2,
            (IpNet::V6(_), 128) => u128::MAX,
            (IpNet::V6(_), _) => (1u128 << bits) - 1,
        };
        let last = fs::read_to_string(self.folder.join(LAST)).ok().and_then(|text| text.trim().parse().ok());
        let last = last.filter(|last: &IpAddr| subnet.contains(last));
        let start = last.map_or(1, |last| to_number(last) - network).clamp(1, highest);
        let count = (highest - 1).min(MAX_TRIES);
        (1..=count).map(move |step| {
            // Numbers 2 to highest, in a circle.
            let number = 2 + (start - 1 + step - 1) % (highest - 1);
            from_number(network + number, subnet)
        })
    }

    /// Creates the file with its content in one step; false when the address was taken meanwhile.
    fn note(&self, address: IpAddr, text: &str) -> Result<bool, Error> {
        let path = self.folder.join(address.to_string());
        let new = self.folder.join(".new");
        let result = (|| {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&new)?;
            file.write_all(text.as_bytes())?;
            // A link, unlike a rename, fails when the name is taken; and the file is never seen without its content.
            fs::hard_link(&new, &path)
        })();
        let _ = fs::remove_file(&new);
        match result {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(source) => Err(self.failed(&path, source)),
        }
    }

    fn lock(&self) -> Result<Flock<File>, Error> {
        let path = self.folder.join(LOCK);
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|source| self.failed(&path, source))?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| self.failed(&path, errno.into()))
    }

    fn failed(&self, path: &Path, source: io::Error) -> Error {
        Error::File { path: path.to_owned(), source }
    }
}

fn to_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn from_number(number: u128, like: IpNet) -> IpAddr {
    match like {
        IpNet::V4(_) => IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX))),
        IpNet::V6(_) => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(folder: &Path, subnet: &str) -> Pool {
        Pool::new(folder, subnet.parse().unwrap()).unwrap()
    }

    #[test]
    fn a_small_subnet_is_handed_out_to_its_last_address_and_then_refuses() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(folder.path(), "10.42.0.0/29");
        let given: Vec<String> =
            (0..5).map(|n| pool.reserve(&format!("c{n}"), "eth0").unwrap().to_string()).collect();
        assert_eq!(given, ["10.42.0.2", "10.42.0.3", "10.42.0.4", "10.42.0.5", "10.42.0.6"]);
        assert!(matches!(pool.reserve("c9", "eth0"), Err(Error::Exhausted { .. })));
        assert_eq!(pool.reserve("c3", "eth0").unwrap().to_string(), "10.42.0.5");
    }

    #[test]
    fn a_released_address_rests_until_the_circle_comes_round() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(folder.path(), "10.42.0.0/29");
        let first = pool.reserve("a", "eth0").unwrap();
        assert_eq!(pool.release("a", "eth0").unwrap(), [first]);
        assert_eq!(pool.release("a", "eth0").unwrap(), [] as [IpAddr; 0]);
        assert_ne!(pool.reserve("b", "eth0").unwrap(), first);
        for n in 0..3 {
            pool.reserve(&format!("c{n}"), "eth0").unwrap();
        }
        assert_eq!(pool.reserve("d", "eth0").unwrap(), first);
    }

    #[test]
    fn ipv6_addresses_are_reserved_too() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(folder.path(), "fd00:42::/64");
        assert_eq!(pool.gateway().to_string(), "fd00:42::1");
        assert_eq!(pool.reserve("a", "eth0").unwrap().to_string(), "fd00:42::2");
        assert_eq!(pool.list().unwrap()[0].container, "a");
    }

    #[test]
    fn writers_at_the_same_time_never_get_the_same_address() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(folder.path(), "10.42.0.0/24");
        let mut given: Vec<IpAddr> = std::thread::scope(|scope| {
            let pool = &pool;
            let worker =
                |t| move || (0..20).map(|n| pool.reserve(&format!("{t}-{n}"), "eth0").unwrap()).collect();
            let handles: Vec<_> = (0..4).map(|t| scope.spawn(worker(t))).collect();
            handles.into_iter().flat_map(|handle| -> Vec<IpAddr> { handle.join().unwrap() }).collect()
        });
        given.sort();
        given.dedup();
        assert_eq!(given.len(), 80);
    }

    #[test]
    fn reservations_of_containers_that_are_gone_can_be_swept() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(folder.path(), "10.42.0.0/24");
        pool.reserve("old", "eth0").unwrap();
        pool.reserve("new", "eth0").unwrap();
        pool.release_where(|held| held.container != "new").unwrap();
        let left: Vec<String> = pool.list().unwrap().into_iter().map(|held| held.container).collect();
        assert_eq!(left, ["new"]);
    }
}
